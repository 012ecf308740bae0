"""A schema that cannot be meant is refused, all of it at once, each with the line to write."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given

from marloft.contract.schema import (
    Property,
    RowSchema,
    object_faults,
    read_schema,
    row_type,
    schema_faults,
)
from marloft.errors import ConfigError
from marloft.structure_errors import collect
from tests.unit.contract.schema.random_schemas import rows


def said(words: str) -> list[str]:
    """What is said of one field of a YAML schema, its structure included."""
    document = msgspec.yaml.decode(f"row: {{x: {words}}}".encode())
    structural = collect(document, RowSchema)
    return [fault.text for fault in schema_faults(document, structural)]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("{type: integer, minLength: 3}", "row.x.minLength: minLength is for strings, and this is "
         "an integer; leave it out."),
        ("{type: array, items: {type: string}, maxLength: 3}", "row.x.maxLength: maxLength is for "
         "strings, and this is an array; write `maxItems: 3`."),
        ("{type: string, minItems: 2}", "row.x.minItems: minItems is for arrays, and this is a "
         "string; write `minLength: 2`."),
        ("{type: string, items: {type: string}}", "row.x.items: items is for arrays, and this is a "
         "string; leave it out."),
        ("{type: array, items: {type: integer}, maximum: 2}", "row.x.maximum: maximum is for "
         "integers and numbers, and this is an array; write it below `items`."),
        ("{type: number, enum: [1]}", "row.x.enum: enum is for strings and integers, and this is a "
         "number; leave it out."),
        ("{type: string, enum: [a], maxLength: 2}", "row.x.maxLength: enum says already which "
         "values are allowed; leave maxLength out."),
        ("{type: string, contentEncoding: base64, pattern: a}", "row.x.pattern: with "
         "contentEncoding, pattern would be of the base64 text; leave pattern out."),
        ("{type: string, contentMediaType: image/png}", "row.x.contentMediaType: without "
         "`contentEncoding: base64` the field is text and no file; leave contentMediaType out."),
        ("{type: integer, minimum: 1, exclusiveMinimum: 1}", "row.x.exclusiveMinimum: minimum "
         "limits the same side; leave exclusiveMinimum out."),
        ("{type: integer, minimum: 3, maximum: 2}", "row.x: no value has minimum 3 and maximum 2; "
         "correct one of them."),
        ("{type: integer, exclusiveMinimum: 3, exclusiveMaximum: 4}", "row.x: no value has "
         "exclusiveMinimum 3 and exclusiveMaximum 4; correct one of them."),
        ("{type: number, minimum: 3, exclusiveMaximum: 3}", "row.x: no value has minimum 3 and "
         "exclusiveMaximum 3; correct one of them."),
        ("{type: integer, minimum: 1, maximum: 4, multipleOf: 5}", "row.x: no value has minimum 1 "
         "and maximum 4 and multipleOf 5; correct one of them."),
        ("{type: integer, minimum: 0.5}", "row.x.minimum is 0.5, and the type is integer; write "
         "`minimum: 1`."),
        ("{type: integer, maximum: 2.5}", "row.x.maximum is 2.5, and the type is integer; write "
         "`maximum: 2`."),
        ("{type: integer, maximum: 9223372036854775808}", "row.x.maximum is 9223372036854775808, "
         "beyond 64 bits; allowed is -9223372036854775808 to 9223372036854775807."),
        ("{type: number, minimum: .inf}", "row.x.minimum is inf, no number that JSON has; leave it "
         "out."),
        ("{type: number, multipleOf: 0.1}", "row.x.multipleOf is 0.1, which no computer holds "
         "exactly, so that multiples of it would be refused; take a fraction of 2 such as 0.25, or "
         "send whole cents."),
        ("{type: number, multipleOf: 0}", "row.x.multipleOf is 0, must be an integer > 0."),
        ("{type: string, minLength: 3, maxLength: 2}", "row.x.maxLength is 2, below minLength 3; "
         "correct one of them."),
        ("{type: array, items: {type: string}, minItems: 3, maxItems: 2}", "row.x.maxItems is 2, "
         "below minItems 3; correct one of them."),
        ("{type: string, minLength: -1}", "row.x.minLength is -1, must be an integer >= 0."),
        ("{type: string, enum: []}", "row.x.enum is empty, so that no value is allowed; list the "
         "values."),
        ("{type: string, enum: [a, 3]}", "row.x.enum holds 3, and the type is string; write "
         "`\"3\"`."),
        ("{type: integer, enum: [1, '2']}", "row.x.enum holds '2', and the type is integer; write "
         "`2`, without quotes."),
        ("{type: string, enum: [a, a]}", "row.x.enum holds 'a' twice; leave one out."),
        ("{type: string, enum: [a, null]}", "row.x.enum holds null, which the type does not allow; "
         "write `type: [string, null]`."),
        ("{type: [string, null], enum: [a]}", "row.x.enum leaves null out, which the type allows; "
         "add null to enum."),
        ("{type: integer, enum: [9223372036854775808]}", "row.x.enum holds 9223372036854775808, "
         "which is beyond 64 bits; leave it out."),
        ("{type: string, enum: [true]}", "row.x.enum[0] is true, must be text or an integer; for "
         "the word, write `\"true\"`."),
        ("{type: string, pattern: '['}", "row.x.pattern '[' is no regular expression: unterminated "
         "character set at position 0."),
        ("{type: array}", "row.x is an array and lacks 'items'; write `items: {type: …}`."),
        ("{type: object}", "row.x is an object and lacks its fields; write `properties: {name: "
         "{type: …}}`, or for names of any kind `additionalProperties: {type: …}`."),
        ("{type: object, properties: {}, additionalProperties: {type: integer}}", "row.x has "
         "properties and additionalProperties; unknown names are refused, so leave one of them "
         "out."),
        ("{type: [null]}", "row.x.type is null alone; write `type: [number, null]` or the like."),
        ("{type: [number, string, null]}", "row.x.type lists number, string, null; it may be one, "
         "or one and null: write `type: [number, null]`."),
        ("{type: nubmer}", "row.x.type is 'nubmer', must be one of array, boolean, integer, "
         "\"null\", number, object, string. Did you mean 'number'?"),
        ("{type: float}", "row.x.type is 'float', must be one of array, boolean, integer, "
         "\"null\", number, object, string; write `type: number`."),
        ("{type: enum}", "row.x.type is 'enum', must be one of array, boolean, integer, "
         "\"null\", number, object, string; write `type: string, enum: […]`."),
        ("{type: number, nullable: true}", "unknown key 'nullable' at row.x. Write null into the "
         "type: `type: [number, null]`."),
        ("{type: array, items: {type: string, alias: y}}", "row.x.items.alias: alias is for fields "
         "with a name; leave it out."),
        ("{type: array, items: {type: string, default: y}}", "row.x.items.default: default is for "
         "fields with a name; leave it out."),
        ("{type: integer, maximum: 3, default: 5}", "row.x.default is 5, must be an integer <= 3."),
        ("{type: integer, default: null}", "row.x.default is null, must be an integer. To allow "
         "null, write `type: [integer, null]`."),
        ("{type: number, default: .nan}", "row.x.default holds NaN or infinity, which JSON has no "
         "word for; write another."),
        ("{type: string, contentEncoding: base64, default: '!'}", "row.x.default is '!', must be "
         "base64 text."),
        ("{type: array, items: {type: integer}, default: [1, a]}", "row.x.default[1] is 'a', must "
         "be an integer."),
        ("{type: object, properties: {a: {type: integer, alias: b}}, default: {b: 1, a: 1}}",
         "unknown key 'a' at row.x.default. Allowed: b."),
        ("{type: object, properties: {a: {type: integer, default: b}}}",
         "row.x.properties.a.default is 'b', must be an integer."),
        ("{type: object, additionalProperties: {type: integer, maxLength: 1}}",
         "row.x.additionalProperties.maxLength: maxLength is for strings, and this is an integer; "
         "leave it out."),
        ("{type: string, default: 2024-01-02}", "row.x.default is the date 2024-01-02, must be "
         "text; write `default: \"2024-01-02\"`."),
    ],
)  # fmt: skip
def test_fault_is_told_with_the_line_to_write(words: str, text: str) -> None:
    assert said(words) == [text]


@pytest.mark.parametrize(
    "words",
    [
        "{type: integer, minimum: 3, maximum: 3}",
        "{type: integer, minimum: -9223372036854775808, maximum: 9223372036854775807}",
        "{type: number, minimum: 0.1, multipleOf: 0.25}",
        "{type: [string, null], enum: [a, null], default: null}",
        '{type: [string, "null"], pattern: "^a", default: null}',
        "{type: array, items: {type: array, items: {type: integer}}, default: []}",
        "{type: object, properties: {a: {type: integer, default: 3}}, default: {}}",
        "{type: object, additionalProperties: {type: [number, null]}, default: {b c: null}}",
        "{type: string, contentEncoding: base64, contentMediaType: image/png, default: aGk=}",
    ],
)
def test_what_can_be_meant_is_taken(words: str) -> None:
    assert said(words) == []


@given(rows())
def test_schemas_without_a_fault_compile(row: dict[str, Property]) -> None:
    assert list(object_faults(row, ())) == []
    row_type(RowSchema(row=row))


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("{type: intger, minLength: 3}", 1),
        ("{type: array, items: 3, default: a}", 1),
        ("{type: object, properties: {a: {minimum: 1}, b: {type: integer}}, default: {a: 1}}", 1),
        ("{type: array, items: {type: string}, maxLenght: 3, minItems: 2, maxItems: 1}", 2),
        ("{type: integer, minimum: x, maxLength: 3, default: a}", 3),
    ],
)
def test_one_mistake_is_told_once_and_does_not_hide_others(words: str, count: int) -> None:
    assert len(said(words)) == count


def test_file_of_a_schema_tells_all(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text("max_rows: 0\nrow:\n  x: {type: array}\n  y: {type: integer, minLength: 1}\n")
    with pytest.raises(ConfigError) as caught:
        read_schema(path)
    first, *faults, last = str(caught.value).splitlines()
    assert first == f"{path}: 3 errors:"
    assert [line.split()[0] for line in faults] == ["max_rows", "row.x", "row.y.minLength:"]
    assert last == "docs/schema.md has every word of a schema."


@pytest.mark.parametrize("schema", [None, [], {"row": []}, {"row": {"x": 3}}, {"row": {1: {}}}])
def test_no_form_of_a_file_breaks_the_checks(schema: Any) -> None:
    structural = collect(schema, RowSchema)
    assert schema_faults(schema, structural) == structural != []


def test_parameters_are_told_with_the_rows() -> None:
    document = msgspec.yaml.decode(b"""
row: {x: {type: array}}
parameters:
  top_k: {type: integer, minimum: 1, default: 0}
  Top: {type: integer, alias: top}
  user_id: {type: string, pattern: "("}
""")
    faults = schema_faults(document, collect(document, RowSchema))
    assert [fault.text.split(";")[0] for fault in faults] == [
        "row.x is an array and lacks 'items'",
        "parameters.top_k.default is 0, must be an integer >= 1.",
        "parameters.Top: parameter 'Top' is no name for one",
        "parameters.Top has an alias, which no header could say",
        "parameters.user_id: parameter 'user_id' is taken (body, data, features, model_name, "
        "model_version, parameters, request_id, user_id)",
        "parameters.user_id.pattern '(' is no regular expression: missing ), unterminated "
        "subpattern at position 0.",
    ]


def test_names_of_parameters_that_are_too_long_together_are_told() -> None:
    document = {"row": {}, "parameters": {f"p{'x' * 60}{i}": {"type": "integer"} for i in range(9)}}
    (fault,) = schema_faults(document, collect(document, RowSchema))
    assert fault.text.startswith("parameters: the names of the 9 parameters have 558 characters")


def test_faulty_field_hides_neither_its_name_nor_what_is_beside_or_inside_it() -> None:
    document = msgspec.yaml.decode(b"""
row:
  x: {type: str}
  class: {type: str}
  y: {type: string, alias: x}
  a.b: {type: object, properties: {n: {type: float}, if: {type: string, minimum: 3}}}
  list: {type: lst, items: {type: array}}
  map: {minimum: x, additionalProperties: {type: integer, minLength: 1}}
""")
    faults = schema_faults(document, collect(document, RowSchema))
    beside = [fault.text.split(";")[0] for fault in faults if "must be" not in fault.text]
    assert beside == [
        "row.map lacks 'type'",
        "row.class: 'class' is no Python name, and a handler reads the field by it",
        "row.y is 'x' in JSON, as row.x is",
        "row.\"a.b\": 'a.b' is no Python name, and a handler reads the field by it",
        "row.\"a.b\".properties.if: 'if' is no Python name, and a handler reads the field by it",
        'row."a.b".properties.if.minimum: minimum is for integers and numbers, and this is a '
        "string",
        "row.list.items is an array and lacks 'items'",
        "row.map.additionalProperties.minLength: minLength is for strings, and this is an integer",
    ]
    assert any("write `class_: {…, alias: class}`" in fault.text for fault in faults)


@pytest.mark.parametrize("bound", [".inf", "9" * 29])
def test_default_beside_a_bound_that_is_no_number_is_not_looked_into(bound: str) -> None:
    (text,) = said(f"{{type: integer, minimum: {bound}, default: 5}}")
    assert text.startswith("row.x.minimum is ")
