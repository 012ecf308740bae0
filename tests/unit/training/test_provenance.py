"""Where a figure comes from: this machine, this commit, or none."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from marloft.training.provenance import describe_commit, describe_machine


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_machine_names_its_processor_and_the_libraries_measured() -> None:
    machine = describe_machine(["numpy"])
    assert machine.libraries == {"numpy": version("numpy")}
    assert machine.processor
    assert machine.cores >= 1


def test_commit_is_the_repositorys_and_says_when_files_were_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert describe_commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert describe_commit(tmp_path) == f"{head}-dirty"


def test_commit_outside_a_repository_is_none(tmp_path: Path) -> None:
    assert describe_commit(tmp_path) is None


@pytest.mark.parametrize(
    ("started", "described"),
    [
        (["script.py"], "python script.py --out 'a b'"),
        (["-m", "script"], "python -m script --out 'a b'"),
    ],
)
def test_command_is_what_a_reader_would_type(
    tmp_path: Path, started: list[str], described: str
) -> None:
    code = "from marloft.training.provenance import describe_command\nprint(describe_command())\n"
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run(
        [sys.executable, *started, "--out", "a b"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == described
