"""The exception tree of marloft.

    MarloftError
    ├── ConfigError      a YAML file or an option is wrong            exit 2
    ├── DataError        data is missing, damaged or unreachable      exit 2
    ├── ArchiveError     a model archive is damaged or refused        exit 2
    ├── ReleaseError     a release cannot be made or read             exit 2
    ├── ServingError     TorchServe or the gateway is not usable      exit 2
    └── StepError        a pipeline step ended with an error          exit 1

Each message is one line: what is wrong (with the value), what is allowed, what to do next. All
mistakes of one file come together, each on a line of its own.
"""

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from marloft.extras import missing_extra
from marloft.pages import with_paths

_LONGEST_SHOWN = 200


class MarloftError(Exception):
    """Root of all errors that marloft raises on purpose; `exit_code` is the CLI's exit status."""

    exit_code = 2


class ConfigError(MarloftError):
    """A configuration file or an option is wrong."""


class DataError(MarloftError):
    """Data is missing, damaged or unreachable."""


class ArchiveError(MarloftError):
    """A model archive cannot be built, or is refused."""


class ReleaseError(MarloftError):
    """A release cannot be written or read."""


class ServingError(MarloftError):
    """TorchServe or the gateway cannot be started, reached or brought to the release."""


class StepError(MarloftError):
    """A step of a pipeline ended with an error."""

    exit_code = 1


def shortened(text: str) -> str:
    """Return text of a client's or a file's own with 200 characters at most, for a message.

    Whoever looks for the nearest name of half a megabyte is busy for a fifth of a second.
    """
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the closest allowed name, else all that are allowed."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Allowed: {', '.join(names)}." if names else " Leave it out."


@contextmanager
def reported(program: str, command: str = "") -> Iterator[None]:
    """Let a command end in one line on stderr, begun by `program`, and the error's exit code.

    Args:
        program: the program's name.
        command: what of it runs, such as `experiment analyze`.

    Raises:
        SystemExit: in the place of a MarloftError, of a file that may not be opened, and of the
            import of a library that an extra brings and that is not installed; any other error
            passes as it is.
    """
    try:
        yield
    except MarloftError as error:
        sys.stderr.write(with_paths(f"{program}: {error}\n"))
        raise SystemExit(error.exit_code) from None
    except PermissionError as error:
        if error.filename is None:
            raise
        sys.stderr.write(
            f"{program}: {error.filename}: {error.strerror}; run this as the user that it belongs "
            "to. Records and state are for the one that runs `marloft serve` alone.\n"
        )
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        told = missing_extra(error, f"{program} {command}".rstrip())
        if told is None:
            raise
        sys.stderr.write(f"{told}\n")
        raise SystemExit(2) from None
