"""Code of the user's that a verb imports and calls: a failure is told with its file and line."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from marloft.errors import ConfigError, MarloftError
from marloft.tracebacks import Failure, Frame, read_failures


class UserCodeError(ConfigError):
    """Code of the user's failed; `log` is the traceback from its first line on."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@contextmanager
def user_code(doing: str, cure: str, place: str | None = None) -> Iterator[None]:
    """Turn what the user's code raises in this block into one line of theirs.

    A `sys.exit` of theirs is a failure too. KeyboardInterrupt passes as it is, and so does a
    MarloftError that no code of theirs has led to.

    Args:
        doing: what was tried, as `requests.jsonl:3: train.py:answer fails`.
        cure: what to do, behind a semicolon.
        place: `FILE:LINE` to name when none of the user's lines is in the traceback.

    Raises:
        UserCodeError: with the exception, its place in the user's code, and the cure.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        failure = _failure_of(error)
        if isinstance(error, MarloftError) and not failure.is_own:
            raise
        said = str(failure)
        if not failure.is_own and place is not None:
            said = f"{failure.shown.error} ({place})"
        raise UserCodeError(f"{doing}: {said}; {cure}", _log_of(error)) from None


def _failure_of(error: BaseException) -> Failure:
    text = "".join(traceback.format_exception(error))
    return read_failures(text.split("\n"))[-1]


def _log_of(error: BaseException) -> str:
    """Return the traceback without what lies before the user's own code, such as the CLI."""
    told = traceback.TracebackException.from_exception(error)
    _trim(told)
    return "".join(told.format()).rstrip("\n")


def _trim(told: Any) -> None:
    frames = list(told.stack)
    own = [n for n, each in enumerate(frames) if Frame(each.filename, 0, None).is_own]
    kept = frames[own[0] :] if own else []
    named = [frame for frame in kept if not frame.filename.startswith("<frozen ")]
    told.stack = traceback.StackSummary.from_list(named)
    for each in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if each is not None:
            _trim(each)
