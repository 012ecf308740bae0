"""Quality of the answers of the last minutes, from the prediction log joined to the outcomes.

`live_answers` has what is counted of each type. CTR is clicked items per shown item, as in the
experiment's analysis; conversion is the share of answers with at least one conversion. An answer
without a declared type, and a ranking, shows its first `top` items; items that were ranked but not
shown have no label and do not count. Other answers show all of their entries.
"""

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from marloft.contract.outcome_api import LABEL_EVENT
from marloft.contract.records import OUTCOMES_FOLDER, PREDICTIONS_FOLDER
from marloft.contract.release import read_release, releases_folder
from marloft.contract.shown import is_ranked, shown_of
from marloft.errors import MarloftError
from marloft.logs.tail import LogTail
from marloft.monitoring.live_answers import (
    ClassifiedAnswer,
    Counts,
    EstimatedAnswer,
    LabelledAnswer,
    LiveAnswer,
    RankedAnswer,
    positive_bits,
)

_LABELLED = {"classification": ClassifiedAnswer, "regression": EstimatedAnswer}


class LiveSettings(Struct, frozen=True, kw_only=True):
    """What is counted.

    Answers count when they are at least `settle_s` old, so that their readers had time to click,
    and at most `window_s` older than that. At most `capacity` answers are kept, of those by row
    that many rows: under more traffic the window is shorter than asked for. `top` items of a
    ranking are shown.
    """

    window_s: float = 300.0
    settle_s: float = 10.0
    top: int = 3
    click: str = "click"
    conversion: str = "conversion"
    capacity: int = 100_000


class Group(Struct, frozen=True, kw_only=True):
    """Whose answers are counted together; `role` is control, treatment or empty."""

    model: str
    version: str
    experiment: str
    arm: str
    role: str


class LiveQuality:
    """Follows both logs; each `refresh` costs what was added since the last one."""

    def __init__(self, var: Path, settings: LiveSettings | None = None) -> None:
        """Follow the logs under `var`; the first refresh looks back one window."""
        self.settings = settings or LiveSettings()
        self._releases = releases_folder(var)
        history_s = self.settings.window_s + self.settings.settle_s
        self._predictions = LogTail(var / PREDICTIONS_FOLDER, _Answered, history_s=history_s)
        self._outcomes = LogTail(var / OUTCOMES_FOLDER, OutcomeEvent, history_s=history_s)
        self._kept: dict[str, LiveAnswer] = {}
        self._size = 0
        # Answers name their group by its index, since hashing a group costs more than counting.
        self._groups: list[Group] = []
        self._places: dict[tuple[str | int | None, ...], int] = {}

    @property
    def damaged_lines(self) -> int:
        """Lines of both logs that are not records, so far."""
        return self._predictions.damaged_lines + self._outcomes.damaged_lines

    @property
    def skipped_bytes(self) -> int:
        """Bytes of both logs that came too fast to be read, so far."""
        return self._predictions.skipped_bytes + self._outcomes.skipped_bytes

    def refresh(self, now_s: float | None = None) -> dict[Group, Counts]:
        """Read what is new and return the counts of the window that ends `settle_s` ago."""
        now_s = time.time() if now_s is None else now_s
        # Outcomes first: one that is read has its answer in the log already, never the reverse.
        outcomes = self._outcomes.read_new()
        self._add(self._predictions.read_new())
        self._mark(outcomes)
        self._forget(now_s)
        return self._count(now_s - self.settings.settle_s)

    def _add(self, records: "Iterable[_Answered]") -> None:
        for record in records:
            if record.role != "answer" or record.status != 200:
                continue
            # A retried request is logged twice; the later attempt replaces the earlier.
            self._drop(record.request_id)
            answer = _answer_of(record, self._group(record), self.settings.top)
            self._kept[record.request_id] = answer
            self._size += _size(answer)

    def _drop(self, request_id: str) -> None:
        answer = self._kept.pop(request_id, None)
        self._size -= 0 if answer is None else _size(answer)

    def _group(self, record: "_Answered") -> int:
        key = (record.model, record.version, record.experiment, record.arm, record.release)
        place = self._places.get(key)
        if place is None:
            group = _group_of(record, self._releases)
            if group not in self._groups:
                self._groups.append(group)
            place = self._places[key] = self._groups.index(group)
        return place

    def _mark(self, outcomes: "Iterable[OutcomeEvent]") -> None:
        for outcome in outcomes:
            answer = self._kept.get(outcome.request_id)
            if answer is None:
                continue
            if outcome.event == self.settings.conversion:
                answer.converted = True
            elif outcome.event == self.settings.click:
                answer.click(outcome.item_id)
            elif outcome.event == LABEL_EVENT:
                answer.label(outcome.item_id, outcome.value)

    def _forget(self, now_s: float) -> None:
        """Drop the oldest; the order is that of reading, which is nearly that of time."""
        oldest_s = now_s - self.settings.window_s - self.settings.settle_s
        size, gone = self._size, []
        for request_id, answer in self._kept.items():
            if size <= self.settings.capacity and answer.time_s >= oldest_s:
                break
            size -= _size(answer)
            gone.append(request_id)
        for request_id in gone:
            self._drop(request_id)

    def _count(self, end_s: float) -> dict[Group, Counts]:
        every = [Counts() for _ in self._groups]
        start_s = end_s - self.settings.window_s
        for answer in self._kept.values():
            if start_s <= answer.time_s <= end_s:
                answer.add_to(every[answer.group])
        counted = zip(self._groups, every, strict=True)
        return {group: counts for group, counts in counted if counts.answers}


class _Answered(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of a prediction record that are needed here."""

    time: str
    request_id: str
    role: str
    status: int
    model: str
    version: str
    release: int | None
    experiment: str | None
    arm: str | None
    prediction: Any
    scores: list[float] | None
    response: str | None = None
    entries: int | None = None


class OutcomeEvent(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of an outcome record that are needed here."""

    request_id: str
    item_id: int | str | None
    event: str
    value: Any = None


def _answer_of(record: _Answered, group: int, top: int) -> LiveAnswer:
    """Return the answer as its declared type says; nothing is told from its shape."""
    shown = shown_of(record.prediction, record.response, record.entries, top)
    time_s = datetime.fromisoformat(record.time).timestamp()
    kind = _LABELLED.get(record.response or "")
    if kind is not None:
        # Of an entry there is one label or number: a list of them has an entry per row.
        many = isinstance(record.prediction, list)
        predicted = record.prediction if many else [record.prediction]
        return kind(time_s=time_s, group=group, shown=shown, predicted=predicted)
    if not is_ranked(record.response):
        return LiveAnswer(time_s=time_s, group=group, shown=shown)
    ranked = isinstance(record.prediction, list) and record.prediction
    scores = record.scores if ranked and len(ranked) == len(record.scores or ()) else None
    positive = None if scores is None else positive_bits(scores, top)
    return RankedAnswer(time_s=time_s, group=group, shown=shown, positive=positive)


def _size(answer: LiveAnswer) -> int:
    """Return what an answer takes of the capacity."""
    return len(answer.predicted) if isinstance(answer, LabelledAnswer) else 1


def _group_of(record: _Answered, releases: Path) -> Group:
    role = ""
    if record.arm is not None and record.release is not None:
        control = _control_arm(releases, record.release, record.model)
        role = "control" if record.arm == control else "treatment"
    return Group(
        model=record.model,
        version=record.version,
        experiment=record.experiment or "",
        arm=record.arm or "",
        role=role,
    )


def _control_arm(releases: Path, number: int, model: str) -> str | None:
    """Return the first arm of the release's allocation, None when it cannot be known."""
    try:
        allocation = read_release(releases, number).models[model].allocation
    except (MarloftError, KeyError):
        return None
    return allocation.arms[0].name if allocation else None
