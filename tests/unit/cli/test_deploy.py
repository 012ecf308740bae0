"""What `plan`, `apply`, `status`, `list` and `history` print, and the exit status of each."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from marloft.cli import main
from marloft.contract.live import Live, VersionState, live_path
from marloft.deploy.running import exclusive
from marloft.files import write_json

PLAIN = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}}, default: "1.0"}
"""
STEPPED = """\
default_model: ranker
models:
  ranker:
    versions: {"1.1": {}}
    default: "1.1"
    rollout: {steps: [5, 50], hold_s: 60}
"""
Marloft = Callable[..., str]


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


def refused(project: Path, release: int, why: str) -> None:
    states = {"1.1": VersionState(state="refused", why=why)}
    report = Live(time="now", release=release, live=False, serving={}, versions={"ranker": states})
    write_json(live_path(project / "var"), report)


def test_plan_exits_by_whether_there_is_something_to_do(project: Path, marloft: Marloft) -> None:
    assert "nothing to do" in marloft("plan", code=0)
    (project / "deployment.yaml").write_text(STEPPED)
    said = marloft("plan", code=3)
    assert "ranker: default: 1.0 → 1.1 by steps of 5, 50, 100 %" in said
    assert "would write release 2" in said
    assert len(json.loads(marloft("plan", "--json", code=3))["changes"]) == 3
    (project / "deployment.yaml").write_text(PLAIN.replace("1.0", "7.0"))
    assert "does not exist" in marloft("plan", code=2)


def test_plan_shows_what_a_rollback_superseded(project: Path, marloft: Marloft) -> None:
    (project / "deployment.yaml").write_text(STEPPED)
    assert "No `marloft serve` runs on var" in marloft("apply")
    assert "release 3 written: rollback of the roll-out" in marloft("rollback")
    assert "would refuse" in marloft("plan", code=2)
    assert "superseded" in marloft("apply", code=2)
    assert "release 4 written" in marloft("apply", "--force", "--no-rollout")
    history = json.loads(marloft("history", "--json", "--limit", "3"))
    assert [(each["release"], each["verb"]) for each in history] == [
        (4, "apply"),
        (3, "rollback"),
        (2, "apply"),
    ]
    assert "ranker: default: 1.0 → 1.1 at once" in marloft("history", "4")
    assert "release 9 does not exist" in marloft("history", "9", code=2)


def test_list_names_what_a_release_names(project: Path, marloft: Marloft) -> None:
    found = {each["file"]: each for each in json.loads(marloft("list", "--json"))}
    assert found["ranker-1.0.mar"]["role"] == "default"
    assert found["ranker-1.1.mar"]["release"] is None
    assert found["ranker-1.0.mar"]["sha256"][:12] in marloft("list")


def test_gc_deletes_only_when_told_to(project: Path, store: Path, marloft: Marloft) -> None:
    (project / "model_store").unlink()
    shutil.copytree(store, project / "model_store")
    archive = project / "model_store" / "ranker-1.1.mar"
    assert "garbage: ranker-1.1.mar" in marloft("gc", "--keep", "0")
    assert archive.exists()
    assert "deleted: ranker-1.1.mar" in marloft("gc", "--keep", "0", "--delete")
    assert not archive.exists()
    assert marloft("gc", "--keep", "0") == "0 archives, 0 bytes\n"


def test_status_without_a_server_exits_2(project: Path, marloft: Marloft) -> None:
    assert "nothing is live" in marloft("status", code=2)
    assert json.loads(marloft("status", "--json", code=2))["release"] == 1
    assert "no release" in marloft("status", "--var", "elsewhere", code=2)


def test_apply_says_why_a_version_is_refused(project: Path, marloft: Marloft) -> None:
    (project / "deployment.yaml").write_text(STEPPED)
    with exclusive(project / "var"):
        refused(project, 2, "golden answer 3 differs")
        said = marloft("apply", code=2)
    assert said.endswith("marloft: ranker 1.1 gets no traffic: golden answer 3 differs\n")


def test_apply_gives_up_waiting_and_the_release_stays(project: Path, marloft: Marloft) -> None:
    (project / "deployment.yaml").write_text(STEPPED)
    with exclusive(project / "var"):
        said = marloft("apply", "--timeout", "0.2", code=1)
        assert "not live after 0.2 s" in said
        assert "written" in marloft("rollback", "--no-wait")
