"""Only what nothing needs is garbage: not what a release, a workflow or a person may want."""

import shutil
import zipfile
from pathlib import Path

import pytest

from harness import factories
from marloft.archive.pack import write_archive
from marloft.deploy.release.write import apply
from marloft.deploy.store import delete, find_garbage
from marloft.files import sidecar_path

PLAIN = 'default_model: ranker\nmodels: {ranker: {versions: {"1.0": {}}, default: "1.0"}}\n'


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with ranker 1.0, 1.1, 1.2 and 1.10."""
    folder = factories.write_project(tmp_path_factory.mktemp("project"))
    config = folder / "archive_configs" / "ranker_v1.yaml"
    for version in ("1.0", "1.1", "1.2", "1.10"):
        other = config.with_name("other.yaml")
        other.write_text(config.read_text().replace('version: "1.0"', f'version: "{version}"'))
        write_archive(other, folder / "store")
    return folder / "store"


@pytest.fixture
def project(four: Path, tmp_path: Path) -> Path:
    shutil.copytree(four, tmp_path / "store")
    return tmp_path


def applied(project: Path, text: str) -> None:
    (project / "deployment.yaml").write_text(text)
    assert apply(project / "deployment.yaml", project / "store", project / "var") is not None


def garbage(project: Path, keep: int = 1) -> list[str]:
    return [each.file for each in find_garbage(project / "store", project / "var", keep=keep)]


def test_newest_versions_stay_by_number_not_by_name(project: Path) -> None:
    assert garbage(project) == ["ranker-1.0.mar", "ranker-1.1.mar", "ranker-1.2.mar"]
    assert garbage(project, keep=2) == ["ranker-1.0.mar", "ranker-1.1.mar"]
    assert garbage(project, keep=4) == []


def test_what_any_release_ever_named_stays(project: Path) -> None:
    applied(project, PLAIN)
    applied(project, PLAIN.replace("1.0", "1.1"))
    applied(project, PLAIN.replace("1.0", "1.10"))
    assert garbage(project) == ["ranker-1.2.mar"]


def test_released_version_stays_when_its_bytes_were_replaced(project: Path) -> None:
    applied(project, PLAIN)
    shutil.copy(project / "store" / "ranker-1.1.mar", project / "store" / "ranker-1.0.mar")
    assert "ranker-1.0.mar" not in garbage(project)


def test_what_a_workflow_names_stays(project: Path) -> None:
    with zipfile.ZipFile(project / "store" / "pair.war", "w") as archive:
        archive.writestr("workflow.yaml", "models: {control: {url: ranker-1.1.mar}}")
    assert garbage(project) == ["ranker-1.0.mar", "ranker-1.2.mar"]


def test_foreign_files_stay(project: Path) -> None:
    for name in ("stock-0.1.mar", "Foreign.mar", "notes.txt"):
        (project / "store" / name).write_bytes(b"x")
    (project / "store" / "ranker-0.1.mar").write_bytes(b"no archive at all")
    shutil.copy(project / "store" / "ranker-1.0.mar", project / "store" / "renamed-1.0.mar")
    found = garbage(project, keep=0)
    assert set(found) == {f"ranker-{version}.mar" for version in ("1.0", "1.1", "1.2", "1.10")}


def test_delete_takes_companions_and_nothing_else(project: Path) -> None:
    store = project / "store"
    (store / "ranker-1.0.mar.sig").write_text("signature")
    before = {path.name for path in store.iterdir()}
    (found,) = find_garbage(store, project / "var", keep=3)
    assert found.companions == ["ranker-1.0.mar.json", "ranker-1.0.mar.sig"]
    delete(store, [found])
    gone = {"ranker-1.0.mar", "ranker-1.0.mar.json", "ranker-1.0.mar.sig"}
    assert before - {path.name for path in store.iterdir()} == gone
    assert sidecar_path(store / "ranker-1.10.mar").exists()
