"""A project on disk, and `marloft serve` running on it, for tests that talk to real servers."""

from pathlib import Path
from typing import Any, Protocol

import httpx2
import msgspec

from harness import driver, serving
from harness.factories import REPOSITORY
from marloft.archive.pack import write_archive
from marloft.contract.records import OutcomeRecord, PredictionRecord
from tests.free_ports import free_ports

JSON_TYPE = {"content-type": "application/json"}


def marloft(project: Path, *words: str | Path, code: int = 0) -> str:
    """Run a verb in the project; return its output and assert its exit code."""
    done = serving.run_marloft(project, *words)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def configure(project: Path, deployment: str) -> None:
    """Put `config.properties` and a `deployment.yaml` into the project and pack its archives."""
    (project / "config.properties").write_bytes((REPOSITORY / "config.properties").read_bytes())
    (project / "deployment.yaml").write_text(deployment)
    for config in sorted((project / "archive_configs").glob("*.yaml")):
        write_archive(config, project / "model_store")


def two_arms(name: str, users: int) -> str:
    """Return an experiment file that asks whether ranker 1.1 is as good as 1.0."""
    return f"""\
name: {name}
hypothesis: 1.1 ranks as well as 1.0
arms:
  - {{name: control, version: "1.0", weight: 50}}
  - {{name: treatment, version: "1.1", weight: 50}}
decision: {{ctr_margin: 0.1, latency_margin: 0.25}}
plan: {{users: {users}, duration: 60s}}
"""


def records(project: Path) -> list[PredictionRecord]:
    """Return every line of the prediction log."""
    lines: list[bytes] = []
    for segment in sorted((project / "var" / "log" / "predictions").glob("*.jsonl")):
        lines += segment.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=PredictionRecord) for line in lines]


def outcome_records(project: Path) -> list[OutcomeRecord]:
    """Return every line of the outcome log."""
    lines: list[bytes] = []
    for segment in sorted((project / "var" / "log" / "outcomes").glob("*.jsonl")):
        lines += segment.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=OutcomeRecord) for line in lines]


class Answering(Protocol):
    """Anything with a client of its gateway."""

    client: httpx2.Client


class Driver(driver.Driver):
    """Drives the tiny ranker at a steady rate, as long as its block lasts."""

    def __init__(self, answering: Answering, rate: float, threads: int = 4) -> None:
        gateway = str(answering.client.base_url)
        super().__init__(gateway, rate, items=(50, 3), threads=threads, timeout_s=10)


class Serving(serving.Serving):
    """`marloft serve` on ports of its own; use it as a context manager."""

    def __init__(self, project: Path, *options: str) -> None:
        super().__init__(project, free_ports(), *options)

    def registered(self, model: str) -> set[str]:
        """Return the versions of a model that TorchServe has loaded."""
        url = f"http://127.0.0.1:{self.ports.management}/models/{model}/all"
        return {each["modelVersion"] for each in httpx2.get(url).json()}

    def predict(self, path: str = "/predict", **body: Any) -> httpx2.Response:
        """POST a JSON body."""
        return self.client.post(path, json=body)
