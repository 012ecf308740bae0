"""`archive.json` is read where the archive lies; a file without one is refused."""

import zipfile
from pathlib import Path

import pytest

from harness import factories
from marloft.archive.manifest import read_manifest, read_schema
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


def test_schema_is_that_of_the_archive_and_none_for_code_that_has_none(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    for name in ("ranker_v1", "outcomes"):
        write_archive(project / "archive_configs" / f"{name}.yaml", tmp_path)
    found = read_schema(tmp_path / "ranker-1.0.mar")
    assert found is not None
    assert list(found.row) == ["item_id"]
    assert read_schema(tmp_path / "outcomes-1.0.mar") is None


@pytest.mark.parametrize(
    ("text", "error"), [(None, ArchiveError), ("[]", ConfigError), ("{", ConfigError)]
)
def test_schema_that_cannot_be_read_is_refused(
    tmp_path: Path, text: str | None, error: type[Exception]
) -> None:
    path = tmp_path / "a.mar"
    path.write_bytes(b"x")
    if text is not None:
        path.unlink()
        _write(path, {"schema.json": text})
    with pytest.raises(error, match=r"a\.mar|row schema"):
        read_schema(path)
