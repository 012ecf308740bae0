"""Why a worker died, in its own words: what TorchServe's model log holds of a version's workers."""

import re
from pathlib import Path

from marloft.tracebacks import Failure, read_failures

_TAIL_BYTES = 1 << 18
# After a handler's traceback TorchServe's worker writes one of its own that says nothing.
_REPEATS = "ts/model_service_worker.py:"
_ERRORS = "stderr"


def last_failure(log: Path, model: str, version: str) -> str | None:
    """Return why a version's workers failed last, in one line.

    Args:
        log: TorchServe's `model_log.log`, with everything that workers write.
        model: the model's name.
        version: the version.

    Returns:
        The last traceback as `error (file:line in function)`, the user's own line if there is one;
        None when the log's end holds no traceback of these workers.
    """
    found = [
        (numbers[failure.line], failure)
        for numbers, lines in _streams(log, model, version).values()
        for failure in read_failures(lines)
    ]
    failures = [failure for _, failure in sorted(found, key=lambda each: each[0])]
    useful = [failure for failure in failures if not _repeats(failure)]
    return next(map(str, reversed(useful or failures)), None)


def last_words(log: Path, model: str, version: str) -> str | None:
    """Return the last line that a version's workers wrote to stderr, as `sys.exit("why")` does."""
    streams = _streams(log, model, version)
    said = [
        (number, line)
        for (_, stream), (numbers, lines) in streams.items()
        for number, line in zip(numbers, lines, strict=True)
        if stream == _ERRORS and line.strip()
    ]
    return max(said)[1] if said else None


def _repeats(failure: Failure) -> bool:
    frame = failure.shown.frame
    return not failure.is_own and frame is not None and frame.place.startswith(_REPEATS)


def _streams(
    log: Path, model: str, version: str
) -> dict[tuple[str, str], tuple[list[int], list[str]]]:
    """Return what each worker wrote to stdout and stderr, with the numbers of its lines."""
    worker = re.compile(
        rf"(?P<worker>W-\d+)-{re.escape(f'{model}_{version}')}-(?P<stream>stdout|stderr) "
        r"MODEL_LOG - (?P<text>.*)"
    )
    found: dict[tuple[str, str], tuple[list[int], list[str]]] = {}
    for number, line in enumerate(_tail(log)):
        if match := worker.search(line):
            numbers, lines = found.setdefault((match["worker"], match["stream"]), ([], []))
            numbers.append(number)
            lines.append(match["text"])
    return found


def _tail(log: Path) -> list[str]:
    if not log.is_file():
        return []
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return stream.read().decode(errors="replace").split("\n")
