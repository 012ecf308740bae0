"""The path of one request: from its unit to the arm, the version, the worker, what the user did.

Each hop is recomputed from what was written at the time, the records and the release that they
name, so that a wrong split or a changed archive shows. What is missing or contradictory is listed.
"""

from pathlib import Path
from typing import Any

from msgspec import Struct

from marloft.assignment import arm_of
from marloft.contract.records import (
    OUTCOMES_FOLDER,
    PREDICTIONS_FOLDER,
    OutcomeRecord,
    PredictionRecord,
)
from marloft.contract.release import Release, read_release, releases_folder
from marloft.contract.segments import writer_of
from marloft.contract.shown import ShownEntries, shown_of
from marloft.errors import MarloftError
from marloft.logs.find import FoundRecord, find
from marloft.logs.words import answer_in_words


class Attempt(Struct, frozen=True, kw_only=True):
    """One try at the request; `worker` is `<host>:<process id>`, `stages_ms` what was timed."""

    time: str
    attempt: int
    role: str
    status: int
    version: str
    worker: str | None
    stages_ms: dict[str, float]
    error: str | None


class TracedOutcome(Struct, frozen=True, kw_only=True):
    """One outcome of the request; `position` is the place in the answer of what it names, from 1.

    `item_id` is None for the answer as a whole.
    """

    time: str
    item_id: int | str | None
    event: str
    value: float | int | str | bool | None
    position: int | None


class Trace(Struct, frozen=True, kw_only=True):
    """All hops of one request; `missing` has a line for each that is not there.

    `response` is the type of the answer that the archive declares, `entries` how many it has, both
    None when it declares none; `answer` says it in words. `arm_meant` follows from unit and
    release, None outside of an experiment; `arm` is what was recorded. `released_sha256` is what
    the release pins for the version that ran.
    """

    request_id: str
    model: str | None = None
    unit: str | None = None
    release: int | None = None
    experiment: str | None = None
    arm_meant: str | None = None
    arm: str | None = None
    version_meant: str | None = None
    version: str | None = None
    archive_sha256: str | None = None
    released_sha256: str | None = None
    response: str | None = None
    entries: int | None = None
    answer: str | None = None
    attempts: list[Attempt] = []
    outcomes: list[TracedOutcome] = []
    missing: list[str] = []


def trace(var: Path, request_id: str) -> Trace:
    """Follow one request through the logs and releases under `var`.

    Raises:
        DataError: no request can have that id, or a record is of a newer schema.
    """
    attempts = find(var / PREDICTIONS_FOLDER, PredictionRecord, request_id)
    outcomes = find(var / OUTCOMES_FOLDER, OutcomeRecord, request_id)
    if not attempts:
        missing = ["no prediction record has this request id"]
        if outcomes:
            missing.append(f"{len(outcomes)} outcome(s) without a prediction")
        happened = [_traced_outcome(each, ShownEntries(0)) for each in outcomes]
        return Trace(request_id=request_id, outcomes=happened, missing=missing)
    record = _answer(attempts)
    release, unreadable = _release(var, record["release"])
    arm_meant = _arm_meant(release, record)
    pinned = _released_sha256(release, record)
    shown = _shown(record)
    return Trace(
        request_id=request_id,
        model=record["model"],
        unit=record["user_id"],
        release=record["release"],
        experiment=record["experiment"],
        arm_meant=arm_meant,
        arm=record["arm"],
        version_meant=record["intended_version"],
        version=record["version"],
        archive_sha256=record["archive_sha256"],
        released_sha256=pinned,
        attempts=[_attempt(each) for each in attempts],
        response=record["response"],
        entries=record["entries"],
        answer=answer_in_words(record),
        outcomes=[_traced_outcome(each, shown) for each in outcomes],
        missing=[*unreadable, *_missing(record, release, arm_meant, pinned)],
    )


def _answer(attempts: list[FoundRecord]) -> dict[str, Any]:
    """Return the record that the views of `logs.read` count: the answer's highest attempt."""
    answers = [each.record for each in attempts if each.record["role"] == "answer"]
    return max(answers or [attempts[-1].record], key=lambda r: (r["attempt"], r["time"]))


def _release(var: Path, number: int | None) -> tuple[Release | None, list[str]]:
    if number is None:
        return None, ["no release in the record: it did not come through the gateway"]
    try:
        return read_release(releases_folder(var), number), []
    except MarloftError as error:
        return None, [f"release {number} cannot be read: {error}"]


def _arm_meant(release: Release | None, record: dict[str, Any]) -> str | None:
    model = release.models.get(record["model"]) if release else None
    if model is None or model.allocation is None or record["user_id"] is None:
        return None
    # A pinned version or a paused split is outside of the experiment: nothing was meant.
    if model.allocation.name != record["experiment"]:
        return None
    return arm_of(model.allocation, record["user_id"])


def _released_sha256(release: Release | None, record: dict[str, Any]) -> str | None:
    model = release.models.get(record["model"]) if release else None
    if model is None:
        return None
    released = model.loaded.get(record["version"])
    return released.sha256 if released else None


def _missing(
    record: dict[str, Any], release: Release | None, arm_meant: str | None, pinned: str | None
) -> list[str]:
    found = []
    served, meant = record["archive_sha256"], record["intended_version"]
    if served is None:
        found.append("no archive's SHA-256 in the record")
    elif release is not None and served != pinned:
        found.append(f"archive {served[:12]} is not the release's {(pinned or 'none')[:12]}")
    if meant is not None and meant != record["version"]:
        found.append(f"version {record['version']} ran, the gateway meant {meant}")
    if arm_meant is not None and arm_meant != record["arm"]:
        found.append(f"arm {record['arm']} was served, the unit belongs to {arm_meant}")
    if release is not None and record["experiment"] and not _knows(release, record):
        found.append(f"release {release.release} runs no experiment {record['experiment']!r}")
    return found


def _knows(release: Release, record: dict[str, Any]) -> bool:
    model = release.models.get(record["model"])
    allocation = model.allocation if model else None
    return allocation is not None and allocation.name == record["experiment"]


def _attempt(found: FoundRecord) -> Attempt:
    record, writer = found.record, writer_of(found.segment)
    stages = {
        "queue": record["queue_ms"],
        "predict": record["predict_ms"],
        **(record.get("stages") or {}),
        "total": record["latency_ms"],
    }
    return Attempt(
        time=record["time"],
        attempt=record["attempt"],
        role=record["role"],
        status=record["status"],
        version=record["version"],
        worker=f"{writer.host}:{writer.pid}" if writer else None,
        stages_ms={name: spent for name, spent in stages.items() if spent is not None},
        error=record["error"],
    )


def _shown(record: dict[str, Any]) -> ShownEntries:
    if record["prediction"] is None:
        return ShownEntries(0)
    return shown_of(record["prediction"], record["response"], record["entries"])


def _traced_outcome(found: FoundRecord, shown: ShownEntries) -> TracedOutcome:
    record = found.record
    place = shown.place_of(record["item_id"])
    return TracedOutcome(
        time=record["time"],
        item_id=record["item_id"],
        event=record["event"],
        value=record["value"],
        position=None if place is None else place + 1,
    )
