"""A worker's view of its archive: members as they were packed, threads of its part of the cores."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from marloft.contract.manifest import ARCHIVE_JSON, Manifest, WorkerSettings
from marloft.contract.release import ReleasedModel, ReleasedVersion, release_path
from marloft.errors import ArchiveError
from marloft.files import write_json
from marloft.serving import LoadedArchive
from marloft.serving.handler import runner_of
from tests.releases import made_release
from tests.unit.serving.driver import Server, TinyRanker

CORES = 8


@pytest.fixture
def packed(archive_folder: Path) -> Path:
    """The unpacked tiny archive as `marloft pack` writes it: with its members' hashes."""
    members = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in archive_folder.iterdir()
    }
    manifest = Manifest(
        name="ranker",
        version="1.0",
        runtime="onnx",
        artifact="model.onnx",
        handler="ranker.py",
        members=members,
        settings=WorkerSettings(workers=4),
        accepts=["application/json"],
        golden_tolerance=1e-4,
        parents={},
        requires={},
        sensitive_features_at_serving=[],
    )
    write_json(archive_folder / ARCHIVE_JSON, manifest)
    return archive_folder


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 cores of which this process may use 8."""
    monkeypatch.setattr("marloft.cores._CGROUP_LIMIT", Path("/nonexistent"))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)))


def released(folder: Path, workers: int, *, version: str = "1.0", standby: bool = False) -> Path:
    pinned = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings(workers=workers))
    model = ReleasedModel(
        default=version,
        versions={} if standby else {version: pinned},
        standby={version: pinned} if standby else {},
    )
    release = made_release({"ranker": model}, 3)
    write_json(release_path(folder, 3), release)
    return folder


def test_unchanged_members_load(packed: Path, serve: Callable[..., Server]) -> None:
    assert runner_of(serve(TinyRanker()).handler)._archive.version == "1.0"


@pytest.mark.parametrize("member", ["model.onnx", "tables.npz", "golden.jsonl"])
def test_changed_member_stops_the_worker_by_its_name(
    packed: Path, serve: Callable[..., Server], member: str
) -> None:
    content = bytearray((packed / member).read_bytes())
    content[-1] ^= 1
    (packed / member).write_bytes(content)
    with pytest.raises(ArchiveError, match=f"ranker 1.0: the unpacked member '{member}' has sha"):
        serve(TinyRanker())


def test_missing_member_stops_the_worker_by_its_name(packed: Path) -> None:
    (packed / "tables.npz").unlink()
    with pytest.raises(ArchiveError, match=r"holds no 'tables.npz'"):
        LoadedArchive(packed, "ranker", {})


def test_threads_are_the_cores_of_this_process_by_the_archives_workers(packed: Path) -> None:
    assert LoadedArchive(packed, "ranker", {}).threads == CORES // 4


@pytest.mark.parametrize(("workers", "threads"), [(1, 8), (2, 4), (3, 2), (16, 1)])
@pytest.mark.parametrize("standby", [False, True])
def test_workers_of_the_newest_release_count(
    packed: Path, tmp_path: Path, workers: int, threads: int, standby: bool
) -> None:
    folder = released(tmp_path / "releases", workers, standby=standby)
    assert LoadedArchive(packed, "ranker", {}, folder).threads == threads


def test_archives_workers_count_where_no_release_has_the_version(
    packed: Path, tmp_path: Path
) -> None:
    assert LoadedArchive(packed, "ranker", {}, tmp_path / "none").threads == CORES // 4
    folder = released(tmp_path / "releases", 1, version="2.0")
    assert LoadedArchive(packed, "ranker", {}, folder).threads == CORES // 4
    release_path(folder, 3).write_text("{")
    assert LoadedArchive(packed, "ranker", {}, folder).threads == CORES // 4


def test_container_limit_counts(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text("400000 100000\n")
    monkeypatch.setattr("marloft.cores.available_cores.__defaults__", (limit,))
    manifest = msgspec.json.decode((packed / ARCHIVE_JSON).read_bytes(), type=Manifest)
    settings = msgspec.structs.replace(manifest.settings, workers=1)
    write_json(packed / ARCHIVE_JSON, msgspec.structs.replace(manifest, settings=settings))
    assert LoadedArchive(packed, "ranker", {}).threads == 4
