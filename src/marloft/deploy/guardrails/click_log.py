"""Follows the prediction log and the outcomes: what each answer of an allocation showed and earned.

`monitoring.live` counts a window for dashboards; here each answer is counted once,
when its readers have had their time, and then forgotten. What counts as shown, as a click and as
time enough is said there, for both.
"""

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from marloft.contract.records import OUTCOMES_FOLDER, PREDICTIONS_FOLDER
from marloft.contract.shown import shown_of
from marloft.logs.tail import LogTail
from marloft.monitoring.live import LiveSettings, OutcomeEvent


class Shown(Struct, frozen=True, kw_only=True, gc=False):
    """One settled answer: the items it showed and how many of them were clicked."""

    model: str
    experiment: str
    arm: str
    release: int
    user: str | None
    shown: int
    clicked: int


class ClickLog:
    """Joins both logs from now on; holds the answers of the last seconds and nothing else."""

    def __init__(self, var: Path, settings: LiveSettings | None = None) -> None:
        """Follow the logs below `var`.

        Args:
            var: run-time state.
            settings: `settle_s` are the seconds that a reader has to click; later clicks do not
                count.
        """
        self._settings, self._since_s = settings or LiveSettings(), time.time()
        self._predictions = LogTail(var / PREDICTIONS_FOLDER, _Answered, history_s=0)
        self._outcomes = LogTail(var / OUTCOMES_FOLDER, OutcomeEvent, history_s=0)
        self._open: dict[str, _Open] = {}

    def read_settled(self, now_s: float | None = None) -> list[Shown]:
        """Return the answers that have settled since the last call; `now_s` is Unix time."""
        # Outcomes first: one that is read has its answer in the log already, never the reverse.
        outcomes = self._outcomes.read_new()
        self._add(self._predictions.read_new())
        self._mark(outcomes)
        end_s = (time.time() if now_s is None else now_s) - self._settings.settle_s
        ripe = [request_id for request_id, each in self._open.items() if each.time_s <= end_s]
        return [self._open.pop(request_id).settled() for request_id in ripe]

    def _add(self, records: "Iterable[_Answered]") -> None:
        for record in records:
            if record.role != "answer" or record.status != 200:
                continue
            if record.experiment is None or record.arm is None or record.release is None:
                continue
            time_s = datetime.fromisoformat(record.time).timestamp()
            if time_s >= self._since_s:
                # A retried request is logged twice; the later attempt replaces the earlier.
                self._open[record.request_id] = _Open(time_s, record, self._settings.top)

    def _mark(self, outcomes: "Iterable[OutcomeEvent]") -> None:
        for outcome in outcomes:
            answer = self._open.get(outcome.request_id)
            if answer is not None and outcome.event == self._settings.click:
                answer.click(outcome.item_id)


class _Answered(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of a prediction record that are needed here."""

    time: str
    request_id: str
    role: str
    status: int
    user_id: str | None
    model: str
    release: int | None
    experiment: str | None
    arm: str | None
    prediction: Any
    response: str | None = None
    entries: int | None = None


class _Open:
    """An answer whose readers still have time."""

    def __init__(self, time_s: float, record: _Answered, top: int) -> None:
        self.time_s = time_s
        self._record = record
        self._shown = shown_of(record.prediction, record.response, record.entries, top)
        self._clicked: set[int] = set()

    def click(self, item_id: int | str | None) -> None:
        """Note a click on a shown entry; a second one on the same changes nothing."""
        place = self._shown.place_of(item_id)
        if place is not None:
            self._clicked.add(place)

    def settled(self) -> Shown:
        record = self._record
        assert record.experiment is not None
        assert record.arm is not None
        assert record.release is not None
        return Shown(
            model=record.model,
            experiment=record.experiment,
            arm=record.arm,
            release=record.release,
            user=record.user_id,
            shown=self._shown.count,
            clicked=len(self._clicked),
        )
