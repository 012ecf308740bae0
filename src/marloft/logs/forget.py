"""Forgets a person: their predictions and what became of them, in every segment of the log.

Outcomes go before predictions, since only predictions say whose an outcome is: an interrupted run
is finished by the next one.
"""

import fcntl
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from marloft.contract.predict_api import UNIT_PATTERN
from marloft.contract.records import OUTCOMES_FOLDER, PREDICTIONS_FOLDER
from marloft.contract.segments import SEGMENTS, footer_path, roll_path, segments, unfinished
from marloft.errors import DataError, MarloftError
from marloft.files import PRIVATE, write_atomic
from marloft.logs.rewrite import Rewritten, Theirs, remove_records
from marloft.serving.segments import close_dead_segments

_FOLDERS = (OUTCOMES_FOLDER, PREDICTIONS_FOLDER)
_POLL_S = 0.2
_UNIT = re.compile(UNIT_PATTERN)
# A line that was cut short has its fields in the order of `contract.records`.
_CUT = re.compile(
    rb'"(?P<field>user_id|request_id)":\s*(?:"(?P<text>[^"]*)(?P<end>")?|(?P<number>\d+))'
)


class Forgot(Struct, frozen=True, kw_only=True):
    """What was removed; `untouched` and `still_open` say what has to be done before all is.

    `torn` are emptied remains of lines that were cut short. `untouched` are complaints about closed
    segments: they are not what they were, or there is no room for a copy. `still_open` are those
    whose writers did not close them in time: what they hold of the person is still there.
    """

    segments: list[Rewritten]
    torn: list[Path]
    untouched: list[str]
    still_open: list[Path]

    def records(self, folder: Path) -> int:
        """Return how many records were removed from the segments of a folder of the log."""
        return sum(each.records for each in self.segments if each.segment.parent == folder)


def forget(var: Path, user: str, wait_s: float = 30.0) -> Forgot:
    """Remove every record of a user, and the outcomes of their requests, from all segments.

    Living writers are asked for new segments, by the file `roll`, and waited for; what they are
    asked for after that stays. An outcome of a request id that another user's record has too stays:
    it may be theirs.

    Args:
        var: the folder that holds `log/`.
        user: the unit, as requests have it; 7 and "7" are one.
        wait_s: how long writers have, all together.

    Raises:
        DataError: nobody can be called so, there is no log, or another `forget` runs.
    """
    check_log(var, user)
    with _asking(var) as ask:
        still_open = _close_all(var, ask, wait_s)
        done = Forgot(segments=[], torn=[], untouched=[], still_open=still_open)
        for folder, theirs in _whose_lines(var, user):
            for copy in unfinished(folder):
                copy.unlink()
            done.torn.extend(_empty_torn(folder, theirs))
            for segment in segments(folder):
                if footer_path(segment).exists():
                    _remove(segment, theirs, done)
            here = [path for path in still_open if path.parent == folder]
            if done.untouched or any(theirs(line) for path in here for line in _lines(path)):
                # Without the predictions nobody could tell whose the outcomes left here are.
                break
    return done


def check_log(var: Path, user: str) -> None:
    """Raise DataError for a user that nobody can be called, or where there is no log."""
    if not _UNIT.match(user):
        raise DataError(
            f"--user is {user!r}, must be 1 to 128 of A-Z a-z 0-9 . _ : @ -, as in `user_id`."
        )
    folder = (var / PREDICTIONS_FOLDER).parent
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist, so that there is no log; check --var.")


def count(var: Path, user: str) -> dict[Path, int]:
    """Return how many records `forget` would remove by segment, and change nothing."""
    check_log(var, user)
    found = {
        segment: sum(map(theirs, _lines(segment)))
        for folder, theirs in _whose_lines(var, user)
        for segment in segments(folder)
    }
    return {segment: records for segment, records in found.items() if records}


def _whose_lines(var: Path, user: str) -> list[tuple[Path, Theirs]]:
    """Return the folders of segments, outcomes first, with what tells the person's lines."""
    requests = _requests_of(var, user)
    return [
        (var / OUTCOMES_FOLDER, _Belongs(None, requests)),
        (var / PREDICTIONS_FOLDER, _Belongs(user, requests)),
    ]


class _Whose(Struct, frozen=True):
    """What says of a record whose it is."""

    request_id: str | None = None
    user_id: int | str | None = None


_whose = msgspec.json.Decoder(_Whose)


class _Belongs:
    """Whether a line is of a user's record, or, without a user, of an outcome of theirs."""

    def __init__(self, user: str | None, requests: frozenset[str]) -> None:
        self._user, self._requests = user, requests

    def __call__(self, line: bytes) -> bool:
        record = _decode(line)
        if record is None:
            return self._may_be(line)
        if self._user is None:
            return record.request_id in self._requests
        return str(record.user_id) == self._user

    def _may_be(self, cut: bytes) -> bool:
        """Whether a line that is not whole is theirs, as far as it goes; in doubt it is."""
        fields: dict[bytes, re.Match[bytes]] = {}
        for match in _CUT.finditer(cut):
            fields.setdefault(match["field"], match)
        if self._user is not None and b"user_id" in fields:
            return _names(fields[b"user_id"], {self._user})
        return b"request_id" in fields and _names(fields[b"request_id"], self._requests)


def _names(match: re.Match[bytes], names: Collection[str]) -> bool:
    """Whether a value, which may be cut short, is one of the names or begins like one."""
    value = (match["text"] if match["number"] is None else match["number"]).decode(errors="replace")
    if match["end"] is not None or match.end() < len(match.string):
        return value in names
    return any(name.startswith(value) for name in names)


def _decode(line: bytes) -> _Whose | None:
    try:
        return _whose.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _requests_of(var: Path, user: str) -> frozenset[str]:
    """Return the ids of the requests that are this user's and nobody else's."""
    own, others = set(), set()
    for record in _predictions(var):
        if str(record.user_id) == user:
            own.add(record.request_id)
    if own:
        for record in _predictions(var):
            if record.request_id in own and str(record.user_id) != user:
                others.add(record.request_id)
    return frozenset(each for each in own - others if each is not None)


def _predictions(var: Path) -> Iterator[_Whose]:
    for segment in segments(var / PREDICTIONS_FOLDER):
        yield from (record for line in _lines(segment) if (record := _decode(line)) is not None)


def _lines(segment: Path) -> Iterator[bytes]:
    try:
        with segment.open("rb") as stream:
            yield from stream
    except FileNotFoundError:
        # Retention was quicker.
        return


@contextmanager
def _asking(var: Path) -> Iterator[Callable[[], None]]:
    """Yield what asks writers for new segments; the file of it admits one `forget` at a time."""
    path = roll_path(var / PREDICTIONS_FOLDER)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)

    def ask() -> None:
        # Always as long as before, so that a reader sees the old time or the new one.
        os.pwrite(file, datetime.now(UTC).isoformat(timespec="microseconds").encode(), 0)

    try:
        _lock(file, var)
        yield ask
    finally:
        os.close(file)


def _lock(file: int, var: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"another `marloft log forget` runs on {var}; wait for its end.") from None


def _close_all(var: Path, ask: Callable[[], None], wait_s: float) -> list[Path]:
    """Have the segments closed that there are now; return those that are still open."""
    folders = [var / folder for folder in _FOLDERS]
    still_open = [p for folder in folders for p in segments(folder) if _is_open(p)]
    if still_open:
        ask()
    deadline = time.monotonic() + wait_s
    while still_open:
        for folder in folders:
            close_dead_segments(folder)
        still_open = [path for path in still_open if _is_open(path)]
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S if still_open else 0)
    return still_open


def _is_open(segment: Path) -> bool:
    """Whether a segment holds records and has no footer; an empty one its writer may go on with."""
    try:
        return not footer_path(segment).exists() and segment.stat().st_size > 0
    except FileNotFoundError:
        return False


def _remove(segment: Path, theirs: Theirs, done: Forgot) -> None:
    try:
        done.segments.extend(remove_records(segment, theirs))
    except (MarloftError, OSError) as error:
        if segment.exists():
            done.untouched.append(str(error))


def _empty_torn(folder: Path, theirs: Theirs) -> list[Path]:
    """Empty what is left of the person's lines that were cut short; the files stay, and count."""
    emptied = []
    for path in sorted(folder.glob(f"{SEGMENTS}.torn*")):
        if not theirs(path.read_bytes()):
            continue
        if path.suffix == ".torn":
            write_atomic(path, b"", PRIVATE)
            emptied.append(path)
        else:
            # Of a writer that was killed while it moved the line.
            path.unlink()
    return emptied
