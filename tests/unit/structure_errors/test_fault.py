"""Faults as people read them, and the rest of a file without them."""

import pytest

from marloft.structure_errors import Fault, Place, dotted, in_file_order, listed, without


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ((), "$"),
        (("a", "b_c", 0, "d-e"), "a.b_c[0].d-e"),
        (("versions", "1.0", "x"), 'versions."1.0".x'),
        (("home.dest",), '"home.dest"'),
    ],
)
def test_place_is_dotted(place: Place, text: str) -> None:
    assert dotted(place) == text


def test_one_fault_stays_on_its_line_and_several_get_one_each() -> None:
    one, two = Fault(("a",), "a is 1."), Fault(("b",), "b is 2.")
    assert listed([one]) == "a is 1."
    assert listed([one, two]) == "2 errors:\n  a is 1.\n  b is 2."


def test_faults_are_told_as_the_file_has_them() -> None:
    value = {"z": [{"q": 1}, {"p": 1}], "a": {"m": 1}}
    places: list[Place] = [("a", "m"), ("a",), ("z", 1, "p"), ("z", 0, "q"), ("z", 0, "gone")]
    ordered = in_file_order([Fault(place, "") for place in places], value)
    assert [fault.place for fault in ordered] == [
        ("z", 0, "gone"), ("z", 0, "q"), ("z", 1, "p"), ("a",), ("a", "m"),
    ]  # fmt: skip


def test_what_is_left_lacks_the_faults_and_keeps_the_file() -> None:
    value = {"a": {"b": 1, "c": 2}, "l": [1, 5], "m": [{"x": 1}, 5]}
    places: list[Place] = [("a", "b"), ("a", "gone"), ("gone", "x"), ("m", 0, "x"), ("l", 1), ()]
    left = without(value, [Fault(place, "") for place in places if place])
    assert left == {"a": {"c": 2}, "m": [{}, 5]}
    assert value["a"] == {"b": 1, "c": 2}
