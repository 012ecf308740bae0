"""How a run of a handler ended is said in words; what it left to be read is not trusted."""

from pathlib import Path

import msgspec
import pytest

from harness import factories
from marloft.archive.pack import write_archive
from marloft.archive.sandbox.confinement import ConfinedRun, Isolation
from marloft.archive.sandbox.handler_run import broken_limit, run_batches, unpack

BARE = Isolation(
    environment=True, limits=True, user=False, network=False, mounts=False, processes=False
)
ENDED = ConfinedRun(status=0, timed_out=False, left_running=False, isolation=BARE, log="")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"status": 1}, None),
        ({"status": None, "timed_out": True}, "was not done in time"),
        ({"status": -24}, "used up its processor time"),
        ({"left_running": True}, "left processes running"),
    ],
)
def test_broken_limit_is_named(change: dict[str, bool | int | None], says: str | None) -> None:
    broken = broken_limit(msgspec.structs.replace(ENDED, **change))
    assert broken is None if says is None else says in str(broken)


@pytest.mark.slow
def test_batches_are_answered_in_their_order(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path / "project")
    sidecar = write_archive(project / "archive_configs" / "ranker_v1.yaml", project)
    (tmp_path / "scratch").mkdir()
    archive = unpack(project / sidecar.file, tmp_path / "scratch")
    process, answered = run_batches(archive, archive.requests, [[1], [0, 2]])
    assert process.status == 0
    assert answered is not None
    assert [len(batch) for batch in answered.batches] == [1, 2]
    assert [answer.status for batch in answered.batches for answer in batch] == [200, 200, 200]
    wanted = archive.golden[1].expected["prediction"]
    assert msgspec.json.decode(answered.batches[0][0].body)["prediction"] == wanted
