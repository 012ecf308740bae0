"""Parameters: their names, and the text that stands for a value in a query or a header.

A type with `?` allows null too.
"""

from typing import Any

import pytest

from marloft.contract.parameters import (
    MAX_NAMES_CHARACTERS,
    check_length,
    check_names,
    from_text,
    header_of,
    to_text,
)


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ("integer", "-5", -5),
        ("number", "0.5", 0.5),
        ("number", "1e3", 1000.0),
        ("boolean", "true", True),
        ("string", "null", "null"),
        ("string", "", ""),
        ("string", "5", "5"),
        ("array", '["a", "b"]', ["a", "b"]),
        ("integer?", "null", None),
        ("integer?", "5", 5),
        ("string?", "null", None),
        ("string?", "de", "de"),
    ],
)
def test_text_is_read_as_the_declared_type(declared: str, text: str, value: Any) -> None:
    found = from_text(declared.rstrip("?"), text, nullable="?" in declared)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("declared", "text", "words"),
    [
        ("integer", "five", "is 'five'; an integer is written as 5"),
        ("integer", "5.0", "an integer is written as 5"),
        ("integer", " 5", "an integer is written as 5"),
        ("integer", "05", "an integer is written as 5"),
        ("integer", "\u0665", "an integer is written as 5"),
        ("integer", "9" * 5000, "is '9999999999999999999999999999999999999999…'"),
        ("number", "NaN", "a number is written as 0.5"),
        ("number", "1e999", "a number is written as 0.5"),
        ("boolean", "True", "written as true or false"),
        ("array", "a,b", "an array is written as JSON"),
        ("array", "[" * 9000, "an array is written as JSON"),
        ("object", "{}", "can be sent in a JSON body only"),
        ("integer", "null", "an integer is written as 5"),
        ("integer?", "x", "written as 5, or null"),
    ],
)
def test_other_text_is_refused_with_an_example(declared: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match="is ") as refusal:
        from_text(declared.rstrip("?"), text, nullable="?" in declared)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        ("integer", 5, "5"),
        ("number", 0.5, "0.5"),
        ("boolean", False, "false"),
        ("string", "de", "de"),
        ("string?", None, "null"),
        ("string?", "null", None),
        ("array", ["a", 1], '["a",1]'),
        ("object", {"a": 1}, None),
        ("integer", "5", None),
    ],
)
def test_value_is_written_so_that_it_is_read_again(
    declared: str, value: Any, text: str | None
) -> None:
    assert to_text(declared.rstrip("?"), value, nullable="?" in declared) == text


def test_header_has_hyphens_for_underscores() -> None:
    assert header_of("top_k") == "x-parameter-top-k"


@pytest.mark.parametrize("name", ["top_k", "t", "k2", "a__b", "x" * 63])
def test_plain_name_is_allowed(name: str) -> None:
    check_names([name])


@pytest.mark.parametrize(
    "name", ["", "Top", "top-k", "_k", "2k", "für", "a b", "class", "a\n", "x" * 64]
)
def test_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no name for one; write .* for example top_k"):
        check_names([name])


@pytest.mark.parametrize(
    "name",
    [
        *("body", "data", "model_name"),
        *("features", "user_id", "model_version", "request_id", "parameters"),
    ],
)
def test_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is taken .* give it another name"):
        check_names([name])


def test_every_bad_name_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"'Top' is no name .*; parameter 'body' is taken"):
        check_names(["Top", "fine", "body"])


def test_names_that_are_too_long_together_are_refused() -> None:
    most = ["a" * 50 for _ in range(MAX_NAMES_CHARACTERS // 50)]
    check_length(most)
    with pytest.raises(ValueError, match="501 characters together, at most 500"):
        check_length([*most, "b"])
