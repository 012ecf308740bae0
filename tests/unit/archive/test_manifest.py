"""`archive.json` is read where the archive lies; a file without one is refused."""

import zipfile
from pathlib import Path

import pytest

from harness import factories
from marloft.archive.manifest import read_manifest
from marloft.archive.pack import write_archive
from marloft.errors import ArchiveError, ConfigError


def test_manifest_says_what_the_yaml_file_says(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    sidecar = write_archive(project / "archive_configs" / "ranker_v1.yaml", tmp_path)
    manifest = read_manifest(tmp_path / sidecar.file)
    assert (manifest.name, manifest.version, manifest.runtime) == ("ranker", "1.0", "onnx")
    assert (manifest.handler, manifest.artifact) == ("ranker.py", "model.onnx")
    assert manifest.settings.batch_size == 16


@pytest.mark.parametrize("members", [None, {"other.txt": "x"}])
def test_file_without_a_manifest_is_refused(tmp_path: Path, members: dict[str, str] | None) -> None:
    path = tmp_path / "a.mar"
    path.write_bytes(b"x")
    if members is not None:
        _write(path, members)
    with pytest.raises(ArchiveError, match=r"a\.mar holds no archive\.json; build it with"):
        read_manifest(path)


def test_manifest_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mar"
    _write(path, {"archive.json": "[]"})
    with pytest.raises(ConfigError, match=r"a\.mar:archive\.json"):
        read_manifest(path)


def _write(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
