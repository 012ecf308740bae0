"""Faults: there until they are over, told once each way, and never more than that."""

import pytest

from marloft.deploy.faults import Faults
from marloft.errors import ServingError


def fail(error: Exception) -> None:
    raise error


def test_a_fault_is_told_once_and_its_end_once() -> None:
    told: list[str] = []
    faults = Faults(told.append)
    for _ in range(3):
        faults.found("the state folder", "disk full")
    assert faults.current == {"the state folder": "disk full"}
    for _ in range(2):
        faults.over("the state folder")
    assert faults.current == {}
    assert told == ["the state folder: disk full", "the state folder: well again"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ServingError("no")])
def test_a_contained_block_fails_without_ending_anything(error: Exception) -> None:
    faults = Faults(lambda _: None)
    with faults.contained("events"):
        fail(error)
    assert faults.current == {"events": str(error)}
    with faults.contained("events"):
        pass
    assert faults.current == {}


@pytest.mark.parametrize("error", [OSError(28, "disk full"), ServingError("no")])
def test_a_survived_part_fails_as_a_contained_one(error: Exception) -> None:
    faults = Faults(lambda _: None)
    with faults.survived("the release"):
        fail(error)
    assert faults.current == {"the release": str(error)}
    with faults.survived("the release"):
        pass
    assert faults.current == {}


def test_a_mistake_of_the_program_is_survived_with_its_traceback_told_once() -> None:
    told: list[str] = []
    faults = Faults(told.append)
    for _ in range(3):
        with faults.survived("the release"):
            raise ZeroDivisionError("by nothing")
    (traceback, line) = told
    assert "test_faults.py" in traceback and "by nothing" in traceback
    assert line == f"the release: {faults.current['the release']}"
    assert "a mistake of marloft's own: ZeroDivisionError('by nothing')" in line


def test_the_end_of_the_program_is_no_fault() -> None:
    with pytest.raises(KeyboardInterrupt), Faults(lambda _: None).survived("the release"):
        raise KeyboardInterrupt


def test_a_mistake_of_the_program_is_no_fault() -> None:
    with pytest.raises(ZeroDivisionError), Faults(lambda _: None).contained("events"):
        raise ZeroDivisionError
