"""Types and values in words that YAML understands."""

import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from marloft.structure_errors.wording import expected, meant, scalar, shown


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "an integer"),
        (Annotated[int, Meta(le=2**53 - 1)], "an integer <= 9007199254740991"),
        (Annotated[float, Meta(gt=0, multiple_of=0.5)], "a number > 0 and a multiple of 0.5"),
        (Annotated[str, Meta(min_length=1, max_length=4)], "text of 1 to 4 characters"),
        (Literal["yes", "b", 3], 'one of 3, b, "yes"'),
        (int | float | None, "a number"),
        (str | None, "text"),
        (list[int] | bool, "a list or true or false"),
        (Annotated[list[int], Meta(max_length=3)], "a list of 0 to 3 entries"),
        (None, "null"),
        (dict[str, int], "a mapping"),
        (bytes, "base64 text"),
    ],
)
def test_type_is_said_in_words(kind: Any, text: str) -> None:
    said = expected(msgspec.inspect.type_info(kind))
    assert sorted(said.split(" or ")) == sorted(text.split(" or "))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "a mapping"),
        ([1], "a list of 1"),
        (datetime.date(2024, 1, 2), "the date 2024-01-02"),
        (None, "null"),
        ("x" * 90, "'" + "x" * 59 + "…"),
    ],
)
def test_value_is_shown(value: Any, text: str) -> None:
    assert shown(value) == text


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1) | st.integers())
def test_scalar_is_read_back_as_itself(value: Any) -> None:
    assert msgspec.yaml.decode(scalar(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("my-model", "my_model"), ("ResNet 50", "resnet_50"), ("50-resnet", None), ("---", None)],
)
def test_name_in_another_form_is_answered_with_the_line_to_write(
    text: str, wanted: str | None
) -> None:
    assert meant(msgspec.inspect.StrType(pattern=r"^[a-z][a-z0-9_]*\Z"), text) == wanted


def test_version_that_is_no_name_is_not_made_one() -> None:
    assert meant(msgspec.inspect.StrType(pattern=r"^\d+\.\d+\Z"), "1.0-beta") is None
