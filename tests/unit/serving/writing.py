"""Records to write, and processes that write them until they are killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.factories import REPOSITORY
from marloft.contract.policy import LogPolicy
from marloft.contract.records import OutcomeRecord, PredictionRecord
from marloft.contract.release import release_path
from marloft.files import write_json
from marloft.serving.log import RecordLog
from tests.releases import made_release


def turn_into(log: RecordLog, device: str) -> None:
    """Put a device in the place of the segment: /dev/null takes writes and refuses fdatasync."""
    file = os.open(device, os.O_WRONLY)
    os.dup2(file, log._file)
    os.close(file)


def outcome(item: int, time_of_day: str = "00:00:00") -> OutcomeRecord:
    return OutcomeRecord(
        time=f"2026-01-01T{time_of_day}.000+00:00",
        request_id="r",
        item_id=item,
        event="click",
        value=None,
    )


def prediction(
    request_id: str, features: Any = None, extra: dict[str, Any] | None = None
) -> PredictionRecord:
    return PredictionRecord(
        time="2026-01-01T00:00:00.000+00:00",
        request_id=request_id,
        attempt=1,
        role="answer",
        status=200,
        user_id="7",
        model="ranker",
        version="1.0",
        intended_version=None,
        archive_sha256=None,
        release=None,
        experiment=None,
        arm=None,
        propensity=None,
        features=msgspec.Raw(msgspec.json.encode(features)),
        prediction=[1],
        scores=[0.5],
        queue_ms=None,
        predict_ms=0.1,
        latency_ms=1.0,
        error=None,
        extra=extra,
    )


def release(var: Path, number: int, **policy: Any) -> None:
    """Write a release whose log has this policy."""
    written = made_release(
        {},
        number,
        log=LogPolicy(**policy),
    )
    write_json(release_path(var / "releases", number), written)


Mode = Literal["steady", "once", "early"]
# Acknowledges by a line on stdout, which the parent reads as a client reads an answer.
_WRITER = """
import signal
import sys
from pathlib import Path
from marloft.contract.policy import LogPolicy
from marloft.serving.log import RecordLog
from tests.unit.serving.writing import prediction

folder, name, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
log = RecordLog(folder, lambda: LogPolicy(segment_mb=1))
late, number = [[], []], 0
while True:
    ids = [f"{name}-{number + n}" for n in range(8)]
    number += 8
    batch = [prediction(each, "x" * 16_000) for each in ids]
    # The planted fault: it acknowledges this batch and writes the one before the last.
    late.append(batch)
    log.append(late.pop(0) if mode == "early" else batch)
    sys.stdout.write("".join(f"{each}\\n" for each in ids))
    sys.stdout.flush()
    if mode == "once":
        signal.pause()
"""


@contextlib.contextmanager
def writer(folder: Path, name: str, mode: Mode = "steady") -> Iterator[subprocess.Popen[str]]:
    """Run a process that appends to a log of `folder` until it is killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), name, mode],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def kill_while_writing(folder: Path, name: str, after_s: float, mode: Mode = "steady") -> list[str]:
    """Let a writer write for `after_s`, kill -9 it, and return the ids it acknowledged."""
    with writer(folder, name, mode) as child:
        assert child.stdout is not None
        first = child.stdout.readline().strip()
        deadline = time.monotonic() + after_s
        acknowledged = [first]
        while time.monotonic() < deadline:
            acknowledged.append(child.stdout.readline().strip())
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read()
    # A line that was cut short was not heard.
    whole = rest[: rest.rfind("\n") + 1].split()
    return acknowledged + whole
