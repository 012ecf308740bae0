"""All faults: enough of them, each named once, for a server that need not run to list them."""

from pathlib import Path

import pytest

from harness.faults.fault import Fault
from harness.faults.others import every_fault
from harness.ranker_serving import RankerServing
from marloft.files import write_atomic

STATE = ("releases/000003.json", "run/live.json", "run/routes/routes.json", "events.jsonl", "lock")


@pytest.fixture
def faults(tmp_path: Path) -> list[Fault]:
    for name in STATE:
        write_atomic(tmp_path / "var" / name, b'{"some": "state", "that": "is long enough"}')
    return list(every_fault(RankerServing(tmp_path), tmp_path / "t"))


def test_there_are_more_than_twenty_each_with_its_name(faults: list[Fault]) -> None:
    names = [fault.name for fault in faults]
    assert len(names) == len(set(names)) >= 20
    for word in ("disk full", "read-only", "SIGKILL", "SIGSTOP", "newest release", "descriptors"):
        assert any(word in name for name in names)


def test_supervisors_end_is_expected_where_a_fault_makes_it(faults: list[Fault]) -> None:
    found = {fault.name for fault in faults if fault.restarts}
    assert found == {
        "SIGKILL: the supervisor",
        *(f"var/lock: {form}" for form in ("other bytes", "cut off", "a folder")),
    }
