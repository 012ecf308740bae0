"""What `marloft serve` says of itself is whole in memory, and in `live.json` when that can be."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from marloft.contract.live import Live, live_path
from marloft.deploy.faults import Faults
from marloft.deploy.state.live_report import LiveReport
from marloft.files import read_json, write_atomic, write_json

FOUND = Live(time="then", release=3, live=True, serving={"ranker": 3}, versions={})


class Report:
    """A report whose clock the test moves on."""

    def __init__(self, var: Path) -> None:
        self.var, self.now = var, 0.0
        self.faults = Faults(lambda _: None)
        self.report = LiveReport(var, self.faults, clock=lambda: self.now)

    def file(self) -> Live:
        return read_json(live_path(self.var), Live)


@pytest.fixture
def found(tmp_path: Path) -> Report:
    return Report(tmp_path)


def test_nothing_is_live_until_something_was_observed(found: Report, tmp_path: Path) -> None:
    said = found.report.current
    assert (said.release, said.live, said.var) == (0, False, str(tmp_path))


def test_observation_is_told_with_what_is_wrong_and_how_old_it_is(found: Report) -> None:
    found.report.publish(FOUND)
    found.faults.found("Envoy", "does not answer")
    found.report.restarted("Envoy")
    found.now += 4
    said = found.report.current
    assert (said.release, said.live, said.age_s) == (3, True, 4.0)
    assert (said.faults, said.restarts) == ({"Envoy": "does not answer"}, {"Envoy": 1})
    found.report.looked()
    assert found.report.current.age_s == 0
    assert found.file().faults == {"Envoy": "does not answer"}


def test_file_changes_only_with_what_is_said(found: Report) -> None:
    found.report.publish(FOUND)
    found.report.publish(replace(FOUND, time="later"))
    assert found.file().time == "then"
    found.report.publish(replace(FOUND, time="later", live=False))
    assert found.file().time == "later"


def test_complaint_takes_back_that_all_is_live(found: Report) -> None:
    found.report.publish(FOUND)
    found.report.not_live("TorchServe ended")
    assert (found.file().live, found.file().complaint) == (False, "TorchServe ended")
    assert found.file().serving == {"ranker": 3}


def test_file_that_cannot_be_written_is_a_fault_until_it_can(found: Report) -> None:
    live_path(found.var).mkdir(parents=True)
    found.report.publish(FOUND)
    assert found.report.current.live, "memory needs no disk"
    assert "live.json" in found.report.current.faults["live.json"]
    live_path(found.var).rmdir()
    found.report.looked()
    assert found.report.current.faults == {}
    assert found.file() == FOUND


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_damaged_file_is_written_again(found: Report, damage: str) -> None:
    found.report.publish(FOUND)
    write_atomic(live_path(found.var), damage)
    found.report.looked()
    assert found.file() == FOUND


def test_successor_goes_on_from_what_was_said_if_it_can_be_read(tmp_path: Path) -> None:
    write_json(live_path(tmp_path), FOUND)
    later = Report(tmp_path)
    later.report.resume()
    assert later.report.current.release == 3
    write_atomic(live_path(tmp_path), "{")
    later = Report(tmp_path)
    later.report.resume()
    assert later.report.current.release == 0
