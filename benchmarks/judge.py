"""Says of each request that was sent to the gateway what was wrong with it; sums up times."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.driver import SentRequest
from marloft.assignment import arm_of
from marloft.contract.release import (
    Release,
    ReleasedModel,
    newest_number,
    read_release,
    releases_folder,
)
from marloft.errors import MarloftError
from marloft.logs.read import open_log

SLOW_S = 5.0


class Judge:
    """Says of each request what was wrong with it, from the log and the releases."""

    def __init__(self, var: Path, model: str) -> None:
        """Read the log of `model` below `var` once; the driver must have stopped."""
        self._model = model
        folder = releases_folder(var)
        numbers = range(1, newest_number(folder) + 1)
        self._releases = {number: read_release(folder, number) for number in numbers}
        with open_log(var) as log:
            rows = log.connection.execute(
                "SELECT request_id, release, version, intended_version, experiment "
                "FROM predictions WHERE role = 'answer' AND status = 200"
            ).fetchall()
            users = log.connection.execute("SELECT user_id FROM predictions").fetchall()
        self._logged = {row[0]: row[1:] for row in rows}
        self._times = Counter(row[0] for row in rows)
        self._users = Counter(row[0] for row in users)

    def fault(self, sent: SentRequest) -> str | None:
        """Return the fault in a few words, None for a right answer.

        An answer is right when it came within 5 s, its record is there once, and the version that
        answered is the one that the release in its record gives to this user; that release must
        not be older than the one that was live when the request was sent. While a split rests,
        because an arm's worker is away, the default is right for everybody, outside the experiment.
        """
        if sent.status != 200:
            return f"status {sent.status}: {sent.detail}"
        if sent.took_s > SLOW_S:
            return f"took {sent.took_s:.1f} s"
        if self._times[sent.request_id or ""] != 1:
            return f"{self._times[sent.request_id or '']} records"
        number, version, intended, experiment = self._logged[sent.request_id or ""]
        if number is None or number < sent.release:
            return f"answered by release {number}, {sent.release} was live"
        release = self._releases[number]
        meant = assigned(release, self._model, sent.user)
        if _rests(release.models[self._model], experiment):
            meant = release.models[self._model].default
        if not (version == intended == meant and sent.version == f"v{meant}"):
            return f"v{meant} was meant, {intended} intended, {version} logged, {sent.version} said"
        return None

    def rested(self, sent: Iterable[SentRequest]) -> int:
        """Return how many were answered by the default while a split rested."""
        logged = [self._logged[s.request_id] for s in sent if s.request_id in self._logged]
        return sum(
            _rests(self._releases[row[0]].models[self._model], row[3]) for row in logged if row[0]
        )

    def lost(self, sent: Iterable[SentRequest]) -> int:
        """Return how many requests were answered 200 and are not in the log exactly once."""
        return sum(self._times[s.request_id or ""] != 1 for s in sent if s.status == 200)

    def records_of(self, user: str) -> int:
        """Return how many records name a user, whatever they were answered."""
        return self._users[user]


def _rests(released: ReleasedModel, experiment: str | None) -> bool:
    return released.allocation is not None and experiment is None


def assigned(release: Release, model: str, user: int) -> str:
    """Return the version that a release gives to a user."""
    released = release.models[model]
    if released.allocation is None:
        return released.default
    arm = arm_of(released.allocation, str(user))
    return next(a.version for a in released.allocation.arms if a.name == arm)


def faults(judge: Judge, sent: Sequence[SentRequest]) -> dict[str, int]:
    """Return the faults of an act and how often each was seen, the commonest first."""
    found = Counter(fault for s in sent if (fault := judge.fault(s)) is not None)
    return dict(found.most_common())


def away_s(sent: Sequence[SentRequest]) -> float:
    """Return the seconds from the first request that failed to the last, 0 when none did."""
    failed = [s for s in sent if s.status != 200]
    if not failed:
        return 0.0
    return max(s.sent_s + s.took_s for s in failed) - min(s.sent_s for s in failed)


def percentiles_ms(sent: Sequence[SentRequest]) -> Mapping[str, float]:
    """Return p50 and p99 in ms and the longest answer in s; raises MarloftError for no answers."""
    took = sorted(s.took_s for s in sent)
    if not took:
        raise MarloftError("no request was sent; is the gateway's port right?")
    return {
        "p50_ms": round(took[len(took) // 2] * 1e3, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1e3, 2),
        "max_s": round(took[-1], 3),
    }
