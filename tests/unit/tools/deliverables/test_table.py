"""The table of deliverables: it is whole, and true to the files it names."""

import re
import shlex
from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from marloft.errors import ConfigError
from tools.deliverables.table import PAGE, SOURCE, Row, page, read_deliverables

pytestmark = pytest.mark.slow


TABLE = read_deliverables(REPOSITORY)
PROGRAMS = {"python", "pytest", "marloft", "grep", "test"}
DELIVERABLES = """\
train.py, config.yaml, requirements.txt, training logs, fairness_audit.py, model_card.md,
fairness report, Dockerfile, serve.py, kubernetes.yaml, deployment documentation, monitoring.py,
dashboard config, alerting rules, ab_test.py, experiment design document, results analysis, README,
architecture, API, troubleshooting, presentation"""
PROMISES = {
    "Training": "FSDP, precision, accumulation, activation, checkpoint, early stopping, AUC",
    "Optimization": "ONNX, INT8, distillation, latency, TensorRT export, TensorRT run",
    "Fairness": "parity, odds, per group, age bands, mitigation, archive",
    "Deployment": "handler, .mar, rollback, batching, gateway, health, container, compose, HPA",
    "Monitoring": "percentiles, errors, accuracy, prediction log, Alertmanager, runbook",
    "A/B testing": "sticky, workflow, ramp, sample size, significance, mismatch, rule, promote",
    "Documentation": "training, archives, decisions, results",
    "Presentation": "talk, notes, numbers",
    "Success criteria": "p99, throughput, failed, quality, fairness threshold, demo",
}


def split(words: str) -> list[str]:
    return [word.strip() for word in words.replace("\n", " ").split(",")]


def area(name: str) -> list[Row]:
    (found,) = [area for area in TABLE.areas if area.name == name]
    return found.rows


def test_every_deliverable_has_its_row() -> None:
    assert [row.name for row in area("Deliverables by name")] == split(DELIVERABLES)


@pytest.mark.parametrize("name", PROMISES)
def test_every_promise_has_a_row(name: str) -> None:
    names = [row.name for row in area(name)]
    missing = [word for word in split(PROMISES[name]) if not any(word in row for row in names)]
    assert missing == []


def test_only_tensorrt_on_a_gpu_is_absent() -> None:
    assert [row.name for row in TABLE.rows if row.state == "absent"] == ["TensorRT run on a GPU"]


def faults(row: Row, root: Path) -> list[str]:
    """Return the files and paths in the command of a row that are neither committed nor built."""
    words = shlex.split(row.check)
    paths = [word for word in words[1:] if "/" in word and not word.startswith("-")]
    named = {path.partition("::")[0] for path in [*row.files, *paths]}
    gone = [path for path in named if not path.startswith("build/") and not (root / path).exists()]
    return gone + [word for word in words[:1] if word not in PROGRAMS]


@pytest.mark.parametrize("row", TABLE.rows, ids=lambda row: row.name.replace(" ", "-"))
def test_files_and_commands_of_the_row_exist(row: Row) -> None:
    assert faults(row, REPOSITORY) == []


def test_a_missing_file_and_an_unknown_program_are_noticed() -> None:
    row = Row(name="x", files=["no.py"], check="nothing tests/no.py", target="", state="done")
    assert sorted(faults(row, REPOSITORY)) == ["no.py", "nothing", "tests/no.py"]


def test_tests_that_a_check_selects_exist() -> None:
    for row in TABLE.rows:
        words = shlex.split(row.check)
        if words[0] == "pytest" and "-k" in words:
            text = "".join(
                (REPOSITORY / word).read_text() for word in words if word.endswith(".py")
            )
            names = re.findall(r"def (test_\w+)", text)
            chosen = words[words.index("-k") + 1].split(" or ")
            assert all(any(word in name for name in names) for word in chosen), row.check


def test_page_is_the_generated_one() -> None:
    assert (REPOSITORY / PAGE).read_text() == page(TABLE), "python -m tools.deliverables page"


def edit(project: Path, old: str, new: str) -> None:
    table = project / SOURCE
    table.write_text(table.read_text().replace(old, new))


def test_a_thin_row_must_say_why(project: Path) -> None:
    edit(project, ", note: short", "")
    with pytest.raises(ConfigError, match="`note` must say"):
        read_deliverables(project)


def test_a_row_is_named_once(project: Path) -> None:
    edit(project, "name: other", "name: page")
    with pytest.raises(ConfigError, match="has 'page' twice"):
        read_deliverables(project)
