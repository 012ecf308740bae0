"""Quality of the answers of the last minutes, from the prediction log joined to the outcomes.

An answer shows its first `top` items. The label of a shown item is whether it was clicked, its
prediction is `score ≥ threshold`; accuracy, precision and recall follow from the four counts
(https://scikit-learn.org/stable/modules/model_evaluation.html#classification-metrics). CTR is
clicked items per shown item, as in the experiment's analysis; conversion is the share of answers
with at least one conversion. Items that were ranked but not shown have no label and do not count.
"""

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from marloft.contract.records import OUTCOMES_FOLDER, PREDICTIONS_FOLDER
from marloft.contract.release import read_release, releases_folder
from marloft.errors import MarloftError
from marloft.logs.tail import LogTail

THRESHOLD = 0.5


class LiveSettings(Struct, frozen=True, kw_only=True):
    """What is counted.

    Answers count when they are at least `settle_s` old, so that their readers had time to click,
    and at most `window_s` older than that. At most `capacity` answers are kept: under more traffic
    the window is shorter than asked for. `top` items of an answer are shown.
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


class Counts(Struct, kw_only=True):
    """The counts of one group; every ratio is None when its denominator is 0."""

    answers: int = 0
    conversions: int = 0
    shown: int = 0
    clicked: int = 0
    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0

    @property
    def ctr(self) -> float | None:
        """Clicked items per shown item."""
        return _ratio(self.clicked, self.shown)

    @property
    def conversion(self) -> float | None:
        """Answers with a conversion per answer."""
        return _ratio(self.conversions, self.answers)

    @property
    def accuracy(self) -> float | None:
        """Shown items whose prediction and label agree, per shown item that has a score."""
        right = self.true_positive + self.true_negative
        return _ratio(right, right + self.false_positive + self.false_negative)

    @property
    def precision(self) -> float | None:
        """Clicked items per shown item with `score ≥ threshold`."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float | None:
        """Items with `score ≥ threshold` per clicked item."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)


class LiveQuality:
    """Follows both logs; each `refresh` costs what was added since the last one."""

    def __init__(self, var: Path, settings: LiveSettings | None = None) -> None:
        """Follow the logs under `var`; the first refresh looks back one window."""
        self.settings = settings or LiveSettings()
        self._releases = releases_folder(var)
        history_s = self.settings.window_s + self.settings.settle_s
        self._predictions = LogTail(var / PREDICTIONS_FOLDER, _Answered, history_s=history_s)
        self._outcomes = LogTail(var / OUTCOMES_FOLDER, OutcomeEvent, history_s=history_s)
        self._kept: dict[str, _Answer] = {}
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
        top = self.settings.top
        for record in records:
            if record.role != "answer" or record.status != 200:
                continue
            ranked = record.prediction if isinstance(record.prediction, list) else None
            shown = [record.prediction] if ranked is None else ranked[:top]
            scores = record.scores if ranked and len(ranked) == len(record.scores or ()) else None
            # A retried request is logged twice; the later attempt replaces the earlier.
            self._kept.pop(record.request_id, None)
            self._kept[record.request_id] = _Answer(
                time_s=datetime.fromisoformat(record.time).timestamp(),
                group=self._group(record),
                items=[str(item) for item in shown],
                positive=None if scores is None else _positive(scores, top),
            )

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
            elif outcome.event == self.settings.click and str(outcome.item_id) in answer.items:
                answer.clicked |= 1 << answer.items.index(str(outcome.item_id))

    def _forget(self, now_s: float) -> None:
        """Drop the oldest; the order is that of reading, which is nearly that of time."""
        oldest_s = now_s - self.settings.window_s - self.settings.settle_s
        drop = max(0, len(self._kept) - self.settings.capacity)
        gone = []
        for number, (request_id, answer) in enumerate(self._kept.items()):
            if number >= drop and answer.time_s >= oldest_s:
                break
            gone.append(request_id)
        for request_id in gone:
            del self._kept[request_id]

    def _count(self, end_s: float) -> dict[Group, Counts]:
        every = [Counts() for _ in self._groups]
        start_s = end_s - self.settings.window_s
        for answer in self._kept.values():
            if not start_s <= answer.time_s <= end_s:
                continue
            counts = every[answer.group]
            counts.answers += 1
            counts.conversions += answer.converted
            counts.shown += len(answer.items)
            counts.clicked += answer.clicked.bit_count()
            if answer.positive is None:
                continue
            hits = (answer.clicked & answer.positive).bit_count()
            counts.true_positive += hits
            counts.false_positive += answer.positive.bit_count() - hits
            counts.false_negative += answer.clicked.bit_count() - hits
            counts.true_negative += (
                len(answer.items) - (answer.clicked | answer.positive).bit_count()
            )
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


class OutcomeEvent(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of an outcome record that are needed here."""

    request_id: str
    item_id: int | str
    event: str


class _Answer(Struct, kw_only=True, gc=False):
    """One answer in the window; bit n of `positive` and `clicked` is the n-th shown item."""

    time_s: float
    group: int
    items: list[str]
    positive: int | None
    clicked: int = 0
    converted: bool = False


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


def _positive(scores: list[float], top: int) -> int:
    """Return the bits of the `top` best scores: the log has them in the request's order."""
    best = sorted(scores, reverse=True)[:top]
    return sum(1 << place for place, score in enumerate(best) if score >= THRESHOLD)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _control_arm(releases: Path, number: int, model: str) -> str | None:
    """Return the first arm of the release's allocation, None when it cannot be known."""
    try:
        allocation = read_release(releases, number).models[model].allocation
    except (MarloftError, KeyError):
        return None
    return allocation.arms[0].name if allocation else None
