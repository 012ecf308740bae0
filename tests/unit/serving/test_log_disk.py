"""What the log promises of the disk: fsync before the answer, and what a full disk does."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import factories
from marloft.contract import metric_names as names
from marloft.contract.policy import LogPolicy
from marloft.logs.read import open_log
from marloft.serving import Handler
from marloft.serving.handler import runner_of
from marloft.serving.log import LOOK_S, RecordLog
from marloft.serving.outcomes import OutcomeReceiver
from tests.small_disk import fill, mounted
from tests.unit.serving.driver import Sent, Server, TinyRanker
from tests.unit.serving.writing import outcome, release, turn_into

ASKED = factories.body(7, [3, 1])
PROBE = Sent(body=b"", headers={"x-marloft": "probe=1"})
CLICK = {"request_id": "r-1", "item_id": 50, "event": "click"}


def value(server: Server, name: str) -> float | None:
    owner = {"model": "ranker", "version": "1.0"}
    return runner_of(server.handler)._metrics.registry.get_sample_value(name, owner)


@pytest.mark.parametrize(("fsync", "fails"), [("never", False), ("batch", True)])
def test_only_batch_asks_the_disk_before_it_returns(
    tmp_path: Path, fsync: str, fails: bool
) -> None:
    log = RecordLog(tmp_path, lambda: LogPolicy(fsync=fsync))  # type: ignore[arg-type]
    turn_into(log, "/dev/null")
    if fails:
        with pytest.raises(OSError, match="Invalid argument"):
            log.append([outcome(1)])
    else:
        log.append([outcome(1)])


def test_answer_waits_for_the_disk(tmp_path: Path, serve: Callable[[Handler], Server]) -> None:
    release(tmp_path / "var", 1, fsync="batch")
    server = serve(TinyRanker())
    assert server.ask(ASKED)[0].status == 200
    turn_into(server.log, "/dev/null")
    (refused,) = server.ask(ASKED)
    assert (refused.status, refused.headers["x-marloft-cause"]) == (503, "log")
    assert refused.headers["retry-after"] == "1"


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder on a disk of 1 MiB."""
    with mounted(tmp_path / "small") as var:
        monkeypatch.setenv("MARLOFT_VAR", str(var))
        yield var


def ask_until(server: Server, condition: Callable[[], bool]) -> list[int]:
    statuses: list[int] = []
    for _ in range(2000):
        if condition():
            return statuses
        statuses.append(server.ask(ASKED)[0].status)
    raise AssertionError(f"never happened: {statuses[-5:]}")


def failures(server: Server) -> float:
    return value(server, names.LOG_FAILURES) or 0.0


def records(disk: Path) -> tuple[int, int]:
    with open_log(disk) as log:
        return log.counts.prediction_lines, log.counts.torn_lines


def test_full_disk_refuses_until_there_is_room(small_disk: Path, archive_folder: Path) -> None:
    server = Server(TinyRanker(), archive_folder, small_disk)
    filler = fill(small_disk)
    statuses = ask_until(server, lambda: failures(server) > 0)
    answered = statuses.count(200)
    assert statuses == [200] * answered + [503]
    assert value(server, names.LOG_DROPPED) == 0
    assert records(small_disk) == (answered, 0)
    probed = server.ask(PROBE)[0]
    assert (probed.status, probed.body["detail"]) == (
        503,
        "The prediction log cannot be written: No space left on device.",
    )
    filler.unlink()
    assert server.ask(PROBE)[0].status == 200, "without a request that is logged"
    assert server.ask(ASKED)[0].status == 200
    assert records(small_disk) == (answered + 1, 0)


def test_probe_tells_of_a_full_disk_before_any_request_meets_it(
    small_disk: Path, archive_folder: Path
) -> None:
    server = Server(TinyRanker(), archive_folder, small_disk)
    assert server.ask(PROBE)[0].status == 200
    fill(small_disk)
    assert server.ask(PROBE)[0].status == 503
    assert failures(server) == 0


def test_full_disk_serves_on_and_counts_what_has_no_record(
    small_disk: Path, archive_folder: Path
) -> None:
    release(small_disk, 1, disk_full="serve")
    server = Server(TinyRanker(), archive_folder, small_disk)
    filler = fill(small_disk)
    statuses = ask_until(server, lambda: failures(server) > 2)
    assert set(statuses) == {200}
    assert server.ask(PROBE)[0].status == 200, "nothing is refused"
    assert value(server, names.LOG_DROPPED) == 3
    assert records(small_disk) == (len(statuses) - 3, 0)
    filler.unlink()
    server.ask(ASKED)
    assert records(small_disk) == (len(statuses) - 2, 0)


def test_probe_asks_the_disk_again_after_a_failure_that_no_count_of_blocks_shows(
    tmp_path: Path, serve: Callable[[Handler], Server]
) -> None:
    """As after a quota: the write failed, and the file system has room."""
    server = serve(TinyRanker())
    turn_into(server.log, "/dev/full")
    assert server.ask(ASKED)[0].status == 503
    folder = tmp_path / "var" / "log" / "predictions"
    shutil.rmtree(folder)
    folder.touch()
    assert server.ask(PROBE)[0].status == 503
    folder.unlink()
    folder.mkdir()
    assert server.ask(PROBE)[0].status == 200


def test_deleted_folder_is_made_again_and_no_record_goes_to_a_deleted_file(
    tmp_path: Path, serve: Callable[[Handler], Server]
) -> None:
    server = serve(TinyRanker())
    assert server.ask(ASKED)[0].status == 200
    shutil.rmtree(tmp_path / "var" / "log")
    assert server.ask(ASKED)[0].status == 200
    assert len(server.records()) == 1


def test_worker_that_starts_without_a_log_says_so_and_heals(
    tmp_path: Path, serve: Callable[[Handler], Server]
) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "log").touch()
    server = serve(TinyRanker())
    assert server.ask(PROBE)[0].status == 503
    refused = server.ask(ASKED)[0]
    assert (refused.status, refused.body["title"]) == (503, "Prediction log unavailable")
    (tmp_path / "var" / "log").unlink()
    assert server.ask(PROBE)[0].status == 200
    assert server.ask(ASKED)[0].status == 200
    assert len(server.records()) == 1


def test_worker_that_starts_on_a_read_only_disk_says_so(
    small_disk: Path, archive_folder: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    server = Server(TinyRanker(), archive_folder, small_disk)
    answers = server.ask(PROBE, ASKED)
    assert [answer.status for answer in answers] == [503, 503]
    assert "Read-only file system" in answers[0].body["detail"]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert [answer.status for answer in server.ask(PROBE, ASKED)] == [200, 200]


def test_outcome_is_never_accepted_without_a_record(tmp_path: Path, small_disk: Path) -> None:
    release(small_disk, 1, disk_full="serve")
    receiver = Server(OutcomeReceiver(), tmp_path, small_disk, "outcomes")
    turn_into(receiver.log, "/dev/full")
    assert receiver.ask(CLICK)[0].status == 503
    fill(small_disk)
    assert receiver.ask(PROBE)[0].status == 503
    owner = {"model": "outcomes", "version": "1.0"}
    assert receiver.handler.registry.get_sample_value(names.LOG_FAILURES, owner) == 1


def test_no_room_for_a_new_segment_lets_the_old_one_grow(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RecordLog(tmp_path / "log", lambda: LogPolicy(segment_mb=1))
    log.append([outcome(n) for n in range(20_000)])
    before = log.path
    # From now on new files would lie where there is no room for a name.
    monkeypatch.setattr(log, "_folder", small_disk / "filler" / "no folder")
    (small_disk / "filler").write_bytes(b"")
    log.append([outcome(1)])
    assert log.path == before
    monkeypatch.undo()
    log.append([outcome(2)])
    assert log.path != before
    log.close()
    lines = [len(path.read_bytes().splitlines()) for path in (before, log.path)]
    assert lines == [20_001, 1]


def test_policy_change_reaches_a_running_worker(
    tmp_path: Path, serve: Callable[[Handler], Server]
) -> None:
    server = serve(TinyRanker())
    server.ask(ASKED)
    release(tmp_path / "var", 1, redact=["item_id"])
    time.sleep(LOOK_S + 0.05)
    server.ask(ASKED)
    assert [record["features"] for record in server.records()] == [
        ASKED["features"],
        [{"item_id": "[redacted]"}, {"item_id": "[redacted]"}],
    ]


def test_outcomes_are_counted_where_the_metrics_folder_is_still_missing(tmp_path: Path) -> None:
    """As beside a TorchServe started by hand whose first worker is that of the outcomes."""
    code = (
        "from prometheus_client import CollectorRegistry\n"
        "from marloft.serving.metrics import LogMetrics\n"
        "LogMetrics(CollectorRegistry(), 'outcomes', '1.0').written(7)\n"
    )
    folder = tmp_path / "run" / "metrics"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(folder.glob("counter_*.db"))
