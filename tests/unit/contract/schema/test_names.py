"""A field has a name for handlers and one for clients, and both can be written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marloft.contract.schema import Property
from marloft.contract.schema.names import is_python_name, name_faults, python_name

TEXT = Property(type="string")


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("home.dest", "home_dest"),
        ("class", "class_"),
        ("2nd class", "field_2nd_class"),
        ("", "field"),
        ("âge", "âge"),
        ("__init__", "init"),
    ],
)
def test_name_for_handlers_follows_from_the_clients(name: str, python: str) -> None:
    assert python_name(name) == python


@given(st.text())
def test_any_name_gets_one_that_handlers_can_write(name: str) -> None:
    assert is_python_name(python_name(name))


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        (
            {"home.dest": Property(type="string", max_length=3)},
            "row.\"home.dest\": 'home.dest' is no Python name, and a handler reads the field by "
            "it; write `home_dest: {type: string, …, alias: home.dest}`.",
        ),
        (
            {"class": Property(type=["string", None])},
            "row.class: 'class' is no Python name, and a handler reads the field by it; write "
            "`class_: {type: [string, null], alias: class}`.",
        ),
        (
            {"a": Property(type="string", alias='a"b')},
            "row.a is 'a\"b' in JSON; quotes, backslashes and control characters are not allowed: "
            "write another `alias: …`.",
        ),
        (
            {"a": TEXT, "b": Property(type="string", alias="a")},
            "row.b is 'a' in JSON, as row.a is; write another `alias: …`.",
        ),
    ],
)
def test_name_that_cannot_be_is_told(properties: dict[str, Property], text: str) -> None:
    assert [fault.text for fault in name_faults(properties, ("row",))] == [text]


def test_two_fields_may_swap_their_names() -> None:
    properties = {"a": Property(type="string", alias="b"), "b": Property(type="string", alias="a")}
    assert list(name_faults(properties, ())) == []
