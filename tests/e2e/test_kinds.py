"""A new project of each kind: trained, checked by its own test, served, judged by an experiment.

All are served by one `marloft serve`, each as a model of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.serving import Serving
from marloft.archive.project.scaffold import KINDS
from marloft.logs.read import open_log
from tests.free_ports import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("kinds")]

MARLOFT = str(Path(sys.executable).with_name("marloft"))
USERS = 40
# Time of the processors: the wall clock also has what else runs on the machine.
LIMIT_S = 60
MODEL = """\
  {name}: {{versions: {{"1.0": {{}}, "2.0": {{}}}}, default: "1.0", experiment: {experiment}}}
"""


def run(*words: str | Path, cwd: Path, code: int = 0) -> str:
    """Run a command that ends with `code`; return what it printed."""
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def spent_s() -> float:
    """Return the processor time of all commands so far."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a project of each kind, trained, and their archives in one store."""
    folder = tmp_path_factory.mktemp("kinds")
    for kind in KINDS:
        project, name = folder / kind, f"{kind}_model"
        before = spent_s()
        run(MARLOFT, "new", name, kind, "--kind", kind, "--runtime", "torchscript", cwd=folder)
        run(sys.executable, "train.py", cwd=project)
        assert "2 passed" in run(sys.executable, "-m", "pytest", "-q", "tests", cwd=project)
        assert 0 < spent_s() - before < LIMIT_S
        configs = [f"archive_configs/{each}.yaml" for each in (name, f"{name}_v2", "outcomes")]
        # Its own test has just tried the handlers.
        run(MARLOFT, "pack", *configs, "--no-check", "--out", folder / "model_store", cwd=project)
    return folder


@pytest.fixture(scope="module")
def served(made: Path) -> Iterator[Serving]:
    models = [MODEL.format(name=f"{k}_model", experiment=f"{k}/experiment.yaml") for k in KINDS]
    text = "default_model: ranking_model\nmodels:\n" + "".join(models)
    text += '  outcomes: {versions: {"1.0": {}}, default: "1.0"}\n'
    (made / "deployment.yaml").write_text(text)
    (made / "config.properties").write_bytes((made / "text" / "config.properties").read_bytes())
    run(MARLOFT, "apply", cwd=made)
    with Serving(made, free_ports()) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_visitors_are_answered_and_their_outcomes_decide(
    served: Serving, made: Path, kind: str
) -> None:
    project, name = made / kind, f"{kind}_model"
    url, path = f"http://127.0.0.1:{served.ports.gateway}", f"/models/{name}/predict"
    words = ["simulate.py", "--users", str(USERS), "--url", url, "--path", path]
    told = run(sys.executable, *words, cwd=project)
    assert sum(int(line.split()[1]) for line in told.splitlines()) == USERS
    out = project / "report"
    run(
        *(MARLOFT, "experiment", "analyze", project / "experiment.yaml", "--var", made / "var"),
        *("--out", out),
        cwd=made,
    )
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    assert sum(arm["users"] for arm in report["results"]["arms"]) == USERS
    with open_log(made / "var") as log:
        query = "SELECT DISTINCT response FROM predictions WHERE model = ? AND status = 200"
        assert log.connection.execute(query, [name]).fetchall() == [(KINDS[kind].response,)]
