"""Packing: reproducible bytes, and nothing questionable gets in."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from marloft.archive import pack as pack_module
from marloft.archive.pack import pack
from marloft.contract.allocation import AllocationFile
from marloft.contract.manifest import ArchiveSidecar, Manifest
from marloft.errors import ArchiveError, ConfigError
from marloft.files import parse_json, read_json, sha256_file
from tests import factories


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return factories.write_project(tmp_path / "project")


def _config(project: Path) -> Path:
    return project / "archive_configs" / "ranker_v1.yaml"


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_same_inputs_give_the_same_bytes_in_another_folder_on_another_day(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(_config(project), tmp_path / "one")
    other = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(project, other)
    for file in other.rglob("*"):
        os.utime(file, (0, 0))
        file.chmod(0o700)
    monkeypatch.chdir(other)
    second = pack(Path("archive_configs/ranker_v1.yaml"), Path("two"))
    assert first.sha256 == second.sha256
    one, two = tmp_path / "one" / first.file, other / "two" / second.file
    assert one.read_bytes() == two.read_bytes()


def test_another_input_gives_other_bytes(project: Path, tmp_path: Path) -> None:
    first = pack(_config(project), tmp_path / "one")
    _edit(_config(project), "batch_size: 16", "batch_size: 8")
    assert pack(_config(project), tmp_path / "two").sha256 != first.sha256


def test_archive_holds_what_the_design_says(project: Path, tmp_path: Path) -> None:
    sidecar = pack(_config(project), tmp_path)
    with zipfile.ZipFile(tmp_path / sidecar.file) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert set(names) == {
            "MAR-INF/MANIFEST.json",
            "archive.json",
            "fairness.json",
            "golden.jsonl",
            "model-config.yaml",
            "model.onnx",
            "model_card.md",
            "ranker.py",
            "schema.json",
            "tables.npz",
        }
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        config = archive.read("model-config.yaml").decode()
        stock = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        manifest = parse_json(archive.read("archive.json"), Manifest, "archive.json")
    assert config == "batchSize: 16\nmaxBatchDelay: 1\nresponseTimeout: 3\n"
    assert stock["model"] == {
        "modelName": "ranker",
        "modelVersion": "1.0",
        "handler": "ranker.py",
        "serializedFile": "model.onnx",
        "configFile": "model-config.yaml",
    }
    assert "createdOn" not in stock
    assert set(manifest.members) == set(names) - {"archive.json"}
    assert manifest.members["model.onnx"] == sha256_file(project / "build/export/model.onnx")
    assert manifest.parents == {"model.pt": "0" * 64}


def test_archive_names_no_place_of_its_build(project: Path, tmp_path: Path) -> None:
    sidecar = pack(_config(project), tmp_path)
    assert str(tmp_path).encode() not in (tmp_path / sidecar.file).read_bytes()


def test_sidecar_lies_beside_the_archive(project: Path, tmp_path: Path) -> None:
    sidecar = pack(_config(project), tmp_path)
    assert read_json(tmp_path / "ranker-1.0.mar.json", ArchiveSidecar) == sidecar
    assert sidecar.sha256 == sha256_file(tmp_path / "ranker-1.0.mar")


def test_packing_again_changes_nothing(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    pack(_config(project), store)
    before = {file.name: file.stat().st_mtime_ns for file in store.iterdir()}
    pack(_config(project), store)
    assert {file.name: file.stat().st_mtime_ns for file in store.iterdir()} == before
    assert set(before) == {"ranker-1.0.mar", "ranker-1.0.mar.json"}


def test_other_bytes_under_a_version_are_refused(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    held = pack(_config(project), store).sha256
    _edit(_config(project), "batch_size: 16", "batch_size: 8")
    with pytest.raises(ArchiveError, match="raise `version` in"):
        pack(_config(project), store)
    assert sha256_file(store / "ranker-1.0.mar") == held
    assert len(list(store.iterdir())) == 2


def test_raised_version_is_packed_beside_the_old_one(project: Path, tmp_path: Path) -> None:
    pack(_config(project), tmp_path)
    _edit(_config(project), 'version: "1.0"', 'version: "1.2"')
    assert pack(_config(project), tmp_path).file == "ranker-1.2.mar"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("MODEL.onnx", "share the path 'model.onnx'"),
        ("archive.json", "share the path 'archive.json'"),
        ("ranker.py/x", "share the path 'ranker.py/x'"),
        ("../tables.npz", "contains '..'"),
        ("/tables.npz", "absolute"),
        ("json.py", "hide the module 'json'"),
    ],
)
def test_questionable_member_is_refused(
    project: Path, tmp_path: Path, member: str, message: str
) -> None:
    _edit(_config(project), "  tables.npz:", f"  {member}: ../handlers/ranker.py\n  tables.npz:")
    with pytest.raises(ArchiveError, match=message):
        pack(_config(project), tmp_path / "store")


def test_handler_named_like_a_standard_module_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "handlers" / "ranker.py").rename(project / "handlers" / "select.py")
    _edit(_config(project), "handlers/ranker.py", "handlers/select.py")
    with pytest.raises(ArchiveError, match="hide the module 'select'"):
        pack(_config(project), tmp_path / "store")


@pytest.mark.parametrize(
    ("more", "message"),
    [("\nclass Second:\n    pass\n", "defines 2 classes"), ("\ndef broken(:\n", "invalid syntax")],
)
def test_handler_torchserve_could_not_load_is_refused(
    project: Path, tmp_path: Path, more: str, message: str
) -> None:
    handler = project / "handlers" / "ranker.py"
    handler.write_text(handler.read_text() + more)
    with pytest.raises(ArchiveError, match=message):
        pack(_config(project), tmp_path / "store")


def test_changed_artifact_is_refused(project: Path, tmp_path: Path) -> None:
    with (project / "build" / "export" / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ArchiveError, match="export it again"):
        pack(_config(project), tmp_path / "store")


def test_golden_file_the_schema_refuses_is_not_packed(project: Path, tmp_path: Path) -> None:
    _edit(_config(project), "minimum: 0", "minimum: 40")
    with pytest.raises(ConfigError, match=r"golden\.jsonl:2: the schema refuses it"):
        pack(_config(project), tmp_path / "store")


def test_failed_packing_leaves_nothing_behind(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file changes between hashing and copying, as when an export runs meanwhile.
    monkeypatch.setattr(pack_module, "_sha256", lambda _: "0" * 64)
    with pytest.raises(ArchiveError, match="changed while it was packed"):
        pack(_config(project), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_assign_nodes_archive_holds_the_experiments_split(project: Path, tmp_path: Path) -> None:
    sidecar = pack(project / "archive_configs" / "feed_ab_assign.yaml", tmp_path)
    with zipfile.ZipFile(tmp_path / sidecar.file) as archive:
        names = archive.namelist()
        split = parse_json(archive.read("allocation.json"), AllocationFile, "allocation.json")
    assert not {"schema.json", "golden.jsonl"} & set(names)
    assert [(arm.name, arm.version) for arm in split.allocation.arms] == [
        ("control", "1.0"),
        ("treatment", "2.0"),
    ]
    experiment = project / "workflows" / "feed_ab" / "experiment.yaml"
    _edit(experiment, 'version: "1.0", weight: 50', 'version: "1.0", weight: 49')
    with pytest.raises(ArchiveError, match="raise `version` in"):
        pack(project / "archive_configs" / "feed_ab_assign.yaml", tmp_path)
