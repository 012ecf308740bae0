"""Every hop of a request is found again, and each one that is missing is named."""

from pathlib import Path
from typing import Any

import pytest

from marloft.assignment import arm_of
from marloft.contract.release import release_path
from marloft.errors import DataError
from marloft.logs.trace import TracedOutcome, trace
from tests.unit.logs.test_read import outcome, prediction
from tests.unit.logs.world import ALLOCATION, SHA, write_release, write_segment

USER = "7"
ARM = arm_of(ALLOCATION, USER)
VERSION = {"control": "1.0", "treatment": "2.0"}[ARM]
OTHER = {"1.0": "2.0", "2.0": "1.0"}[VERSION]


def served(request_id: str = "a", **changes: Any) -> dict[str, Any]:
    """The record of a request that went the right way."""
    whole: dict[str, Any] = {
        "user_id": USER,
        "release": 1,
        "experiment": "feed_ab",
        "arm": ARM,
        "version": VERSION,
        "intended_version": VERSION,
        "archive_sha256": SHA[VERSION],
        "queue_ms": 0.5,
        "predict_ms": 0.25,
        "propensity": 0.5,
    }
    return prediction(request_id, **(whole | changes))


def missing(var: Path, *records: dict[str, Any]) -> list[str]:
    write_segment(var, "predictions", list(records))
    return trace(var, "a").missing


@pytest.fixture
def var(tmp_path: Path) -> Path:
    write_release(tmp_path)
    return tmp_path


def test_whole_way_has_every_hop(var: Path) -> None:
    write_segment(var, "predictions", [served("b"), served()], host="a-host", pid=41)
    write_segment(var, "outcomes", [outcome("a", 3), outcome("a", 99), outcome("b", 4)])
    found = trace(var, "a")
    assert found.missing == []
    assert (found.unit, found.release, found.experiment) == (USER, 1, "feed_ab")
    assert (found.arm_meant, found.arm) == (ARM, ARM)
    assert (found.version_meant, found.version) == (VERSION, VERSION)
    assert found.archive_sha256 == found.released_sha256 == SHA[VERSION]
    (attempt,) = found.attempts
    assert attempt.worker == "a-host:41"
    assert attempt.stages_ms == {"queue": 0.5, "predict": 0.25, "total": 2.5}
    time = "2026-01-01T00:00:01.000000Z"
    assert found.outcomes == [
        TracedOutcome(time=time, item_id=3, event="click", value=None, position=2),
        TracedOutcome(time=time, item_id=99, event="click", value=None, position=None),
    ]


def test_stages_of_the_record_are_all_shown(var: Path) -> None:
    write_segment(var, "predictions", [served(stages={"decode": 0.125, "encode": None})])
    stages = trace(var, "a").attempts[0].stages_ms
    assert stages == {"queue": 0.5, "predict": 0.25, "decode": 0.125, "total": 2.5}


def test_attempts_are_all_listed_and_the_last_one_counts(var: Path) -> None:
    first = served(status=500, version=OTHER, error="KeyError: x")
    write_segment(var, "predictions", [served(attempt=2)], pid=1)
    write_segment(var, "predictions", [first], pid=2)
    found = trace(var, "a")
    assert sorted((each.attempt, each.status) for each in found.attempts) == [(1, 500), (2, 200)]
    assert (found.version, found.missing) == (VERSION, [])


def test_shadow_does_not_stand_for_the_answer(var: Path) -> None:
    write_segment(var, "predictions", [served(), served(role="shadow", attempt=9, version="9.0")])
    assert trace(var, "a").version == VERSION


def test_unknown_request_has_no_prediction(var: Path) -> None:
    assert missing(var, served("b")) == ["no prediction record has this request id"]


def test_id_inside_another_field_is_no_record(var: Path) -> None:
    assert missing(var, served("b", user_id="a"))[0].startswith("no prediction record")


def test_outcome_without_a_prediction_is_named(var: Path) -> None:
    write_segment(var, "outcomes", [outcome("a", 3)])
    found = trace(var, "a")
    assert found.missing[1] == "1 outcome(s) without a prediction"
    assert [each.item_id for each in found.outcomes] == [3]


def test_lost_release_is_named(var: Path) -> None:
    release_path(var / "releases", 1).unlink()
    (line,) = missing(var, served())
    assert line.startswith("release 1 cannot be read")


def test_request_without_a_gateway_has_neither_release_nor_archive(var: Path) -> None:
    found = missing(var, served(release=None, experiment=None, arm=None, archive_sha256=None))
    assert [line.split(":")[0] for line in found] == [
        "no release in the record",
        "no archive's SHA-256 in the record",
    ]


def test_other_archive_is_named(var: Path) -> None:
    (line,) = missing(var, served(archive_sha256="c" * 64))
    assert line == f"archive cccccccccccc is not the release's {SHA[VERSION][:12]}"


def test_version_that_no_release_names_is_named(var: Path) -> None:
    (line,) = missing(var, served(version="9.0", intended_version="9.0"))
    assert line.endswith("is not the release's none")


def test_wrong_arm_is_named(var: Path) -> None:
    (line,) = missing(var, served(arm="other"))
    assert line == f"arm other was served, the unit belongs to {ARM}"


def test_other_version_than_meant_is_named(var: Path) -> None:
    (line,) = missing(var, served(intended_version=OTHER))
    assert line == f"version {VERSION} ran, the gateway meant {OTHER}"


def test_experiment_that_the_release_does_not_run_is_named(tmp_path: Path) -> None:
    write_release(tmp_path, allocation=None)
    assert missing(tmp_path, served()) == ["release 1 runs no experiment 'feed_ab'"]


def test_request_outside_an_experiment_lacks_nothing(var: Path) -> None:
    assert missing(var, served(experiment=None, arm=None)) == []


def test_torn_record_is_no_record(var: Path) -> None:
    write_segment(var, "predictions", [], tail='{"request_id":"a","ti')
    assert trace(var, "a").missing == ["no prediction record has this request id"]


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, 'a"', "a\n"])
def test_text_that_is_no_id_is_refused(var: Path, bad: str) -> None:
    with pytest.raises(DataError, match="is not a request id"):
        trace(var, bad)


def test_record_of_a_newer_schema_is_refused(var: Path) -> None:
    write_segment(var, "predictions", [served(schema=3)])
    with pytest.raises(DataError, match="schema 3 is newer"):
        trace(var, "a")
