"""The demo that needs no download: a new project, from training to a decided experiment.

What it leaves behind is the project, with its releases and logs, to go on with.
"""

import math
from pathlib import Path
from typing import Any

from rich.table import Table

from marloft.archive.project.scaffold import new_project, pack_command
from marloft.contract.manifest import archive_path
from marloft.demo.run import Demo, Step, run_steps
from marloft.demo.serving import serving
from marloft.errors import ConfigError
from marloft.files import read_json

NAME = "demo_model"
# Torch's exporter to ONNX needs two more packages; TorchScript comes with torch alone.
_RUNTIME = "torchscript"
_EXPERIMENT = "experiment.yaml"


def run_project_demo(demo: Demo, kind: str, users: int) -> None:
    """Make a project in the working directory and run all its commands.

    Args:
        demo: its folders are the project's own.
        kind: the kind of project.
        users: how many made-up visitors ask.

    Raises:
        ConfigError: the working directory holds files of a project.
        StepError: a step failed.
    """
    if any(Path().iterdir()):
        raise ConfigError(f"{Path.cwd()} is not empty; name another folder: marloft demo FOLDER")
    new_project(NAME, Path(), _RUNTIME, kind)
    demo.summary = {"kind": kind, "users": users, "seconds": {}}
    run_steps(demo, STEPS)


def results_table(found: dict[str, Any]) -> Table:
    """Return what the demo found, the decision last."""
    table = Table(title=f"marloft demo: {found['kind']}", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("result", justify="right")
    for arm in found["experiment"]["results"]["arms"]:
        shown = f"{arm['users']} users, CTR {arm['ctr']:.4f}"
        table.add_row(f"{arm['name']} (v{arm['version']})", shown)
    table.add_row("decision on v2.0", found["experiment"]["decision"].replace("_", " "))
    table.add_row("first answer served after", f"{first_answer_s(found):.0f} s")
    table.add_row("all steps", f"{sum(found['seconds'].values()):.0f} s")
    return table


def first_answer_s(found: dict[str, Any]) -> float:
    """Return the seconds from an empty folder to the first served answer."""
    return math.fsum(found["seconds"][step] for step in ("train", "pack", "serve"))


def _train(demo: Demo) -> None:
    demo.run("python", "train.py")


def _pack(demo: Demo) -> None:
    demo.run(*pack_command(NAME))
    demo.run("marloft", "verify", archive_path(demo.store, NAME, "1.0"))


def _serve(demo: Demo) -> None:
    demo.run("marloft", "apply")
    demo.running.enter_context(serving(demo))
    _visit(demo, 1)


def _experiment(demo: Demo) -> None:
    _visit(demo, demo.summary["users"])
    out = demo.out / "report"
    demo.run("marloft", "experiment", "analyze", _EXPERIMENT, "--out", out)
    report = read_json(out / "report.json", dict[str, Any])
    demo.summary["experiment"] = {key: report[key] for key in ("results", "decision")}


def _visit(demo: Demo, users: int) -> None:
    demo.run("python", "simulate.py", "--users", str(users), "--url", demo.gateway)


STEPS = (
    Step(name="train", title="train two versions, record golden answers", run=_train),
    Step(name="pack", title="pack and verify model archives", run=_pack),
    Step(name="serve", title="serve behind the gateway, ask once", run=_serve),
    Step(name="experiment", title="A/B test with made-up visitors", run=_experiment),
)
