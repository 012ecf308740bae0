"""A property says its type in one way, however it was written."""

from typing import Any

import msgspec
import pytest

from marloft.contract.schema import Property, RowSchema, json_name


@pytest.mark.parametrize(
    ("yaml", "written", "kind", "nullable"),
    [
        ("integer", "integer", "integer", False),
        ("[number, null]", ["number", "null"], "number", True),
        ('["null", number]', ["number", "null"], "number", True),
        ("[string]", "string", "string", False),
        ("[null]", "null", "null", False),
    ],
)
def test_type_is_one_word_and_maybe_null(
    yaml: str, written: Any, kind: str, nullable: bool
) -> None:
    field = msgspec.yaml.decode(f"type: {yaml}".encode(), type=Property)
    assert (field.type, field.kind, field.nullable) == (written, kind, nullable)


def test_null_is_a_default_like_any_other() -> None:
    assert not Property(type="integer").optional
    assert msgspec.yaml.decode(b"{type: [integer, null], default: null}", type=Property).optional


def test_clients_use_the_alias() -> None:
    assert json_name("a_b", Property(type="integer", alias="a.b")) == "a.b"
    assert json_name("a_b", Property(type="integer")) == "a_b"


def test_alias_of_a_parameter_is_refused() -> None:
    field = {"type": "integer", "alias": "top.k"}
    with pytest.raises(msgspec.ValidationError, match="parameter 'top_k' has an alias"):
        msgspec.convert({"row": {}, "parameters": {"top_k": field}}, RowSchema)
    assert msgspec.convert({"row": {"top_k": field}}, RowSchema).parameters == {}
