"""A project on disk, and `marloft serve` running on it, for tests that talk to real servers."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import httpx
import msgspec

from benchmarks.pace import Paced
from marloft.archive.pack import pack
from marloft.contract.records import OutcomeRecord, PredictionRecord
from marloft.deploy.ports import Ports, check_free
from marloft.errors import ServingError
from tests.factories import REPOSITORY

MARLOFT = Path(sys.executable).with_name("marloft")
JSON_TYPE = {"content-type": "application/json"}
_STEP = 100
_OFFSETS = itertools.count(
    1000 + 2000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), _STEP
)


def free_ports() -> Ports:
    """Return ports nobody uses; offsets differ by 100, so that two sets never overlap."""
    for _ in range(20):
        ports = Ports(offset=next(_OFFSETS))
        try:
            check_free(ports)
        except ServingError:
            continue
        return ports
    raise AssertionError("no free ports")


def marloft(project: Path, *words: str | Path, code: int = 0) -> str:
    """Run a verb in the project; return its output and assert its exit code."""
    command = [str(MARLOFT), *(str(word) for word in words)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def configure(project: Path, deployment: str) -> None:
    """Put `config.properties` and a `deployment.yaml` into the project and pack its archives."""
    (project / "config.properties").write_bytes((REPOSITORY / "config.properties").read_bytes())
    (project / "deployment.yaml").write_text(deployment)
    for config in sorted((project / "archive_configs").glob("*.yaml")):
        pack(config, project / "model_store")


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


class Asked(NamedTuple):
    """One request of a driver: when it was sent (s since start) and what came back."""

    sent_s: float
    user: int
    status: int
    version: str | None
    request_id: str | None


class Answering(Protocol):
    """Anything with a client of its gateway."""

    client: httpx.Client


class Driver(Paced[Asked]):
    """Asks the tiny ranker at a steady rate, as long as its block lasts."""

    def __init__(self, serving: Answering, rate: float, threads: int = 4) -> None:
        super().__init__(rate, threads, timeout_s=10)
        self._url = f"{serving.client.base_url}/predict"

    @property
    def asked(self) -> list[Asked]:
        """Every request so far, in the order of the answers."""
        return self._kept

    def _ask(self, client: httpx.Client, user: int) -> Asked:
        sent_s = self.now()
        body = {"user_id": user, "features": [{"item_id": 50}, {"item_id": 3}]}
        try:
            response = client.post(self._url, json=body)
        except httpx.HTTPError:
            return Asked(sent_s, user, 0, None, None)
        answer = response.json()
        version = answer.get("model_version")
        return Asked(sent_s, user, response.status_code, version, answer.get("request_id"))


class Serving:
    """`marloft serve` as a child process; use it as a context manager."""

    def __init__(self, project: Path, *options: str) -> None:
        self.project = project
        self.options = options
        self.ports = free_ports()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.ports.gateway}", timeout=30)
        self.console = project / "serve.log"

    def start(self) -> None:
        """Start the child; its console begins anew."""
        command = [str(MARLOFT), "serve", "--port-offset", str(self.ports.offset)]
        command += self.options
        with self.console.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.project, stdout=log, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_for("release 1 is live")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for(self, line: str, limit_s: float = 60) -> None:
        """Return when the console shows `line`."""
        deadline = time.monotonic() + limit_s
        while line not in self.console.read_text():
            assert self.process.poll() is None, self.console.read_text()
            assert time.monotonic() < deadline, f"no {line!r} in:\n{self.console.read_text()}"
            time.sleep(0.1)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask for the end and return the exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def registered(self, model: str) -> set[str]:
        """Return the versions of a model that TorchServe has loaded."""
        url = f"http://127.0.0.1:{self.ports.management}/models/{model}/all"
        return {each["modelVersion"] for each in httpx.get(url).json()}

    def predict(self, path: str = "/predict", **body: Any) -> httpx.Response:
        """POST a JSON body."""
        return self.client.post(path, json=body)
