"""The demo's list of steps, each with a name of its own."""

from pathlib import Path

from rich.console import Console

from harness import factories
from harness.factories import REPOSITORY
from marloft.archive.pack import write_archive
from marloft.demo import STEPS, Demo
from marloft.demo.steps import ARCHIVES, EXPERIMENT, PLANTED, WORKFLOW, describe, where
from marloft.files import sha256_file


def test_step_names_are_unique() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_files_that_the_steps_name_are_there() -> None:
    named = [*(Path("archive_configs", f"{name}.yaml") for name in ARCHIVES), EXPERIMENT, PLANTED]
    assert [path for path in (*named, WORKFLOW) if not (REPOSITORY / path).is_file()] == []


def test_archive_is_described_by_its_sidecar(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    write_archive(project / "archive_configs" / "ranker_v1.yaml", tmp_path)
    archive = tmp_path / "ranker-1.0.mar"
    assert describe(archive) == {
        "path": str(archive),
        "name": "ranker",
        "version": "1.0",
        "sha256": sha256_file(archive),
    }


def test_demo_keeps_off_the_users_own_releases() -> None:
    demo = Demo(0, Console())
    assert where(demo) == (
        *("--store", Path("build/demo/model_store")),
        *("--var", Path("build/demo/var")),
    )
