"""An artifact of several files is packed, hashed and compared as one."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from harness import factories
from harness.documents import write_documents
from marloft.archive.inspection import compare, inspect
from marloft.archive.manifest import read_manifest
from marloft.archive.pack import pack, write_archive
from marloft.archive.verify import verify
from marloft.contract.manifest import artifact_digest
from marloft.errors import ArchiveError
from marloft.files import sha256_file

WEIGHTS = "model.onnx.data"
CONFIG = "archive_configs/ranker_v1.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The tiny ranker, its weights beside the graph, as torch writes them beyond a size."""
    project = factories.write_project(tmp_path)
    path = project / "build" / "export" / "model.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location=WEIGHTS, size_threshold=0)
    _described(project)
    return project


def _described(project: Path) -> None:
    export = project / "build" / "export"
    factories.write_sidecar(export / "model.onnx", "onnx")
    write_documents(project / "build", export / "model.onnx")


def _nudge(weights: Path) -> None:
    """Change a weight by 1e-5."""
    values = np.fromfile(weights, dtype=np.float32)
    values[-1] += np.float32(1e-5)
    values.tofile(weights)


@pytest.mark.slow
def test_it_serves_and_is_hashed_as_one(project: Path) -> None:
    store = project / "store"
    archive = store / pack(project / CONFIG, store).file
    assert [check for check in verify(archive).checks if not check.ok] == []
    manifest = read_manifest(archive)
    assert manifest.artifact_members == ["model.onnx", WEIGHTS]
    export = project / "build" / "export"
    files = {name: sha256_file(export / name) for name in ("model.onnx", WEIGHTS)}
    assert manifest.artifact_sha256 == artifact_digest(files)
    listed = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    (project / "listed").write_text(listed)
    assert sha256_file(project / "listed") == manifest.artifact_sha256, "as `sha256sum` prints it"


def test_weights_that_changed_after_the_export_are_refused(project: Path) -> None:
    _nudge(project / "build" / "export" / WEIGHTS)
    with pytest.raises(ArchiveError, match=r"model\.onnx\.data has sha256 .* after its export"):
        write_archive(project / CONFIG, project / "store")


def test_graph_that_changed_after_the_export_is_refused(project: Path) -> None:
    graph = project / "build" / "export" / "model.onnx"
    model = onnx.load(graph, load_external_data=False)
    model.doc_string = "another"
    onnx.save(model, graph)
    with pytest.raises(ArchiveError, match=r"model\.onnx has sha256 .* after its export"):
        write_archive(project / CONFIG, project / "store")


def test_weights_that_are_gone_are_named(project: Path) -> None:
    (project / "build" / "export" / WEIGHTS).unlink()
    with pytest.raises(ArchiveError, match=r"model\.onnx\.data too, which is not there"):
        write_archive(project / CONFIG, project / "store")


def test_other_weights_are_told_as_weights(project: Path) -> None:
    first = project / "first" / write_archive(project / CONFIG, project / "first").file
    _nudge(project / "build" / "export" / WEIGHTS)
    _described(project)
    second = project / "second" / write_archive(project / CONFIG, project / "second").file
    differences = compare(inspect(first), inspect(second))
    assert ("weights", WEIGHTS) in {(each.category, each.what) for each in differences}
    assert {each.category for each in differences} <= {"weights", "card"}


def test_card_of_another_build_of_the_weights_is_refused(project: Path) -> None:
    _nudge(project / "build" / "export" / WEIGHTS)
    factories.write_sidecar(project / "build" / "export" / "model.onnx", "onnx")
    with pytest.raises(ArchiveError, match="does not name the artifact's sha256"):
        write_archive(project / CONFIG, project / "store")


def test_one_file_keeps_its_own_hash() -> None:
    assert artifact_digest({"model.onnx": "a" * 64}) == "a" * 64
