"""JSON Schemas of users: checked, and never fetched."""

from typing import Any

import pytest

from marloft.contract.json_schema import fault_of, faults

SCHEMA = {"type": "object", "properties": {"a": {"items": {"type": "integer"}}}}


def test_value_is_checked_with_its_place() -> None:
    assert fault_of({"a": [1, 2]}, SCHEMA) is None
    assert fault_of({"a": [1, "2"]}, SCHEMA) == "/a/1: '2' is not of type 'integer'"
    assert fault_of(3, SCHEMA) == "3 is not of type 'object'"


def test_all_faults_of_a_schema_are_told() -> None:
    assert faults(SCHEMA) == []
    found = faults({"type": "objct", "properties": {"a": {"minimum": "1"}}})
    assert len(found) == 2


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "http://127.0.0.1:1/a.json"}, "leads out of the file"),
        ({"items": {"anyOf": [{"$dynamicRef": "file:///etc/passwd"}]}}, "leads out of the file"),
        ({"$ref": "#/$defs/none"}, "leads to no schema of the file"),
        ({"$ref": "#/title", "title": "x"}, "leads to no schema of the file"),
        ({"$defs": {"a": {"$id": "urn:b", "$ref": "#/$defs/a"}}}, "leads to no schema"),
        ({"$ref": "#"}, "leads back to itself"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#"}}}, "leads back to itself"),
        ({"items": {"pattern": "("}}, "is no regular expression"),
        ({"patternProperties": {"a{99999999999}": {}}}, "is no regular expression"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "leave it out, or write"),
        ({"maximum": float("nan")}, "None is not of type 'number'"),
        ({"const": {None: 1}}, "it is no JSON"),
        ({"type": "text"}, "'text' is not valid"),
    ],
)
def test_schema_that_cannot_be_used_is_refused_and_nothing_is_fetched(
    schema: dict[str, Any], said: str
) -> None:
    (fault,) = faults(schema)
    assert said in fault
    assert isinstance(fault_of(1, schema), str | None)


def test_schema_nested_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(500):
        schema = {"properties": {"a": schema}}
    assert "nested too deep" in faults(schema)[0]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"c": {"$ref": "#"}, "$ref": {"type": "string"}}},
        {"$dynamicAnchor": "node", "properties": {"c": {"$dynamicRef": "#node"}}},
        {"enum": [{"$ref": "a value"}], "const": {"pattern": "("}, "examples": [{"$ref": "x"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$anchor": "b"}, "c": {"$ref": "#b"}}},
    ],
)
def test_schema_of_its_own_parts_is_accepted(schema: dict[str, Any]) -> None:
    assert faults(schema) == []


def test_schema_with_faults_is_told_of_any_value() -> None:
    outside = {"$ref": "http://127.0.0.1:1/schema.json"}
    assert fault_of(1, outside) == (
        "the schema cannot be used: Unresolvable: http://127.0.0.1:1/schema.json"
    )
