"""Why a worker died, in its own words: the end of its last traceback in TorchServe's model log."""

import re
from pathlib import Path

_TAIL_BYTES = 1 << 18
# After a handler's traceback TorchServe's worker writes one of its own that says nothing.
_REPEATS = "model_service_worker.py"
_START = "Traceback (most recent call last):"
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')


def last_traceback(log: Path, model: str, version: str) -> str | None:
    """Return the last traceback of a version's workers as `error (file:line in function)`.

    Args:
        log: TorchServe's `model_log.log`, with everything that workers write.
        model: the model's name.
        version: the version.

    Returns:
        One line, None when the log's end holds no traceback of these workers.
    """
    lines = _lines(log, model, version)
    starts = [number for number, line in enumerate(lines) if line.startswith(_START)]
    causes = [cause for start in reversed(starts) if (cause := _cause(lines[start + 1 :]))]
    own = (text for text, file in causes if file != _REPEATS)
    return next(own, causes[0][0] if causes else None)


def _cause(trace: list[str]) -> tuple[str, str] | None:
    """Return the error of a traceback in one line, and the file of its last frame."""
    # Frames are indented; the first line that is not is the error itself.
    end = next((n for n, line in enumerate(trace) if line and not line[0].isspace()), None)
    frames = [match for line in trace[:end] if (match := _FRAME.search(line))]
    if end is None or not frames:
        return None
    last = frames[-1]
    file = Path(last["file"]).name
    return f"{trace[end]} ({file}:{last['line']} in {last['function']})", file


def _lines(log: Path, model: str, version: str) -> list[str]:
    if not log.is_file():
        return []
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    worker = re.compile(
        rf"W-\d+-{re.escape(f'{model}_{version}')}-std(?:out|err) MODEL_LOG - (?P<text>.*)"
    )
    return [match["text"] for line in text.splitlines() if (match := worker.search(line))]
