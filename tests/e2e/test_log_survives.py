"""kill -9 of everything under load: what a client saw answered is in the log exactly once."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from harness import factories
from marloft.contract.segments import footer_path, torn_path
from marloft.logs.read import open_log
from tests.e2e.running import Driver, Serving, configure, marloft, records

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {workers: 2}}, default: "1.0"}
log: {redact: [item_id]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    factories.write_project(tmp_path, torchscript=True)
    configure(tmp_path, DEPLOYMENT)
    marloft(tmp_path, "apply")
    return tmp_path


def kill_everything(serving: Serving) -> None:
    """Kill -9 the supervisor and all that it started, workers first, and wait for their end."""
    parent = psutil.Process(serving.process.pid)
    family = [*reversed(parent.children(recursive=True)), parent]
    for process in family:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
    serving.process.wait(10)


def segments(project: Path) -> list[Path]:
    return sorted((project / "var" / "log" / "predictions").glob("*.jsonl"))


def not_exactly_once(project: Path, answered: Iterable[str]) -> set[str]:
    """Return the ids that a reader of the log does not find exactly once."""
    with open_log(project / "var") as log:
        rows = log.connection.execute("SELECT request_id FROM predictions").fetchall()
    times = Counter(row[0] for row in rows)
    return {each for each in answered if times[each] != 1}


def answered_until_killed(project: Path, load_s: float) -> list[str]:
    """Serve under load, kill everything in the middle of it; return the ids seen answered."""
    with Serving(project) as serving, Driver(serving, rate=150, threads=6) as driver:
        time.sleep(load_s)
        kill_everything(serving)
        time.sleep(0.3)
    lost = [sent for sent in driver.sent if sent.status == 0]
    assert lost, "nothing was under way when it was killed"
    return [sent.request_id for sent in driver.sent if sent.status == 200 and sent.request_id]


def test_answered_requests_are_in_the_log_exactly_once_after_kill_9_of_everything(
    project: Path,
) -> None:
    answered = answered_until_killed(project, load_s=3)
    assert len(answered) > 200
    assert not_exactly_once(project, answered) == set()
    orphans = segments(project)
    assert not any(footer_path(path).exists() for path in orphans)
    # What a kill in the middle of a write leaves, which is too rare to wait for.
    with orphans[-1].open("ab") as stream:
        stream.write(b'{"schema":1,"time":"2026-')
    with Serving(project) as serving:
        request_id = serving.predict(user_id=7, features=[{"item_id": 50}]).json()["request_id"]
        deadline = time.monotonic() + 10
        while not all(footer_path(path).exists() for path in orphans):
            assert time.monotonic() < deadline, "the workers did not close what the dead left"
            time.sleep(0.1)
        assert torn_path(orphans[-1]).read_bytes() == b'{"schema":1,"time":"2026-'
        assert not_exactly_once(project, [*answered, request_id]) == set()
        (record,) = [each for each in records(project) if each.request_id == request_id]
        assert bytes(record.features) == b'[{"item_id":"[redacted]"}]'
        assert "are what they were" in marloft(project, "log", "stat", "--check")
        assert "the release's" in marloft(project, "trace", request_id)
        assert "worker" in marloft(project, "trace", answered[0])
    check_notices_a_lost_record(project, answered)


def check_notices_a_lost_record(project: Path, answered: list[str]) -> None:
    """Take one line out: both the count above and `marloft log stat --check` have to see it."""
    lost = answered[len(answered) // 2]
    (path,) = [each for each in segments(project) if f'"{lost}"' in each.read_text()]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if f'"{lost}"'.encode() not in line))
    assert not_exactly_once(project, answered) == {lost}
    assert path.name in marloft(project, "log", "stat", "--check", code=1)
    assert "no prediction record" in marloft(project, "trace", lost, code=1)
