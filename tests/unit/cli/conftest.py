"""Verbs run in this process as the command runs them, in a project with its first release."""

import sys
from pathlib import Path

import pytest

from marloft.cli import main
from tests.unit.cli.running import PLAIN, Marloft


@pytest.fixture
def marloft(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Marloft:
    """Run a verb as the command does; return what it printed and assert its exit status."""

    def run(*words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["marloft", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code == code, printed
        return printed.out + printed.err

    return run


@pytest.fixture
def project(store: Path, tmp_path: Path, marloft: Marloft, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model store, with release 1 written; commands run in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_store").symlink_to(store)
    (tmp_path / "deployment.yaml").write_text(PLAIN)
    marloft("apply")
    return tmp_path


@pytest.fixture
def archive(store: Path, tmp_path: Path) -> Path:
    """A copy of ranker 1.0, to change or to sign."""
    path = tmp_path / "ranker-1.0.mar"
    path.write_bytes((store / path.name).read_bytes())
    return path
