"""What `plan`, `apply` and `rollback` print, and the exit status of each."""

import json
import tempfile
from pathlib import Path

import pytest

from marloft.contract.live import Live, VersionState, live_path
from marloft.deploy.running import exclusive
from marloft.files import write_json
from tests.unit.cli.running import PLAIN, Marloft

STEPPED = """\
default_model: ranker
models:
  ranker:
    versions: {"1.1": {}}
    default: "1.1"
    rollout: {steps: [5, 50], hold_s: 60}
"""


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


def test_serve_refuses_a_temporary_folder_that_workers_cannot_use(
    project: Path, marloft: Marloft, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = project / ("t" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    said = marloft("serve", code=2)
    assert said.startswith(f"marloft: temporary folder {long} has ")
    assert "run `TMPDIR=/tmp marloft serve`." in said
    assert not (project / "var" / "log").exists()
