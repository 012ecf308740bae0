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
        SystemExit: in the place of a MarloftError, and of the import of a library that an extra
            brings and that is not installed; any other error passes as it is.
    """
    try:
        yield
    except MarloftError as error:
        sys.stderr.write(with_paths(f"{program}: {error}\n"))
        raise SystemExit(error.exit_code) from None
    except ModuleNotFoundError as error:
        told = missing_extra(error, f"{program} {command}".rstrip())
        if told is None:
            raise
        sys.stderr.write(f"{told}\n")
        raise SystemExit(2) from None
