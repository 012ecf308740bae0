"""More than can be answered, more than can be connected: the others and new releases go on."""

import contextlib
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest

from harness.factories import write_project
from harness.serving import MARLOFT
from tests.e2e.clients import Clients
from tests.e2e.running import JSON_TYPE, Serving, configure, marloft
from tests.planted.planting import plant

pytestmark = pytest.mark.e2e

SLOW = "1.2"
DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}, "1.2": {batch_size: 1}}, default: "1.0"}
"""
DESCRIPTORS = 256
BODY = b'{"user_id": 7, "features": [{"item_id": 50}, {"item_id": 3}]}'

# A version in the body is known later than one in a header, and must hurt others as little.
SLOW_BODY = BODY.replace(b"{", b'{"model_version": "' + SLOW.encode() + b'", ', 1)


class Narrow(Serving):
    """A `marloft serve` that may have few files open."""

    def start(self) -> None:
        command = f"ulimit -n {DESCRIPTORS}; exec {MARLOFT} serve --port-offset {self.ports.offset}"
        with self.console.open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", command], cwd=self.project, stdout=log, stderr=subprocess.STDOUT
            )


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    project = write_project(tmp_path_factory.mktemp("project"))
    for config in (project / "archive_configs").glob("*.yaml"):
        if config.name != "ranker_v1.yaml":
            config.unlink()
    plant(project, "slow", SLOW)
    handler = project / "handlers" / "slow_ranker.py"
    handler.write_text(handler.read_text().replace("_DELAY_S = 0.035", "_DELAY_S = 0.2"))
    configure(project, DEPLOYMENT)
    marloft(project, "apply")
    with Narrow(project) as running:
        yield running


class Flood(Clients):
    """Clients that ask the slow version again as soon as they have an answer."""

    def __init__(self, serving: Serving, clients: int) -> None:
        self._links = [httpx2.Client(timeout=30, headers=JSON_TYPE) for _ in range(clients)]
        super().__init__(*(partial(self._ask, link) for link in self._links))
        self._url = f"{serving.gateway}/predict"
        self.answers: list[tuple[int, float, httpx2.Response]] = []

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for link in self._links:
            link.close()

    def _ask(self, link: httpx2.Client) -> int:
        time.sleep(0.1)
        began = time.monotonic()
        answer = link.post(self._url, content=SLOW_BODY)
        self.answers.append((answer.status_code, time.monotonic() - began, answer))
        return answer.status_code


def test_flood_of_one_version_is_refused_at_once_and_hurts_no_other(serving: Serving) -> None:
    with Flood(serving, 40) as flood:
        time.sleep(1)
        others = [serving.client.post("/predict", content=BODY, headers=JSON_TYPE)]
        for _ in range(20):
            others.append(serving.client.post("/predict", content=BODY, headers=JSON_TYPE))
            others.append(serving.client.get("/health"))
            time.sleep(0.1)
    assert {answer.status_code for answer in others} == {200}
    refused = [(took_s, answer) for status, took_s, answer in flood.answers if status == 503]
    answered = [took_s for status, took_s, _ in flood.answers if status == 200]
    assert len(refused) + len(answered) == len(flood.answers), "no 504, nothing else"
    assert len(refused) > len(answered) > 5
    assert {answer.headers["retry-after"] for _, answer in refused} == {"1"}
    (detail,) = {answer.json()["detail"] for _, answer in refused}
    assert detail.startswith("More requests than ranker can answer in time;")
    # Without a limit all of them would wait for 40 answers of 0.2 s each.
    assert statistics.median(took_s for took_s, _ in refused) < 0.2
    assert max(answered) < 5


def test_release_goes_live_while_clients_hold_every_connection_there_is(
    serving: Serving, tmp_path: Path
) -> None:
    project = serving.project
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", serving.ports.gateway)))
            for _ in range(DESCRIPTORS + 50)
        ]
        time.sleep(1)
        assert sum(map(_is_closed, idle)) > DESCRIPTORS / 2, "they were turned away"
        assert not all(map(_is_closed, idle))
        (project / "deployment.yaml").write_text(
            DEPLOYMENT.replace('default: "1.0"', 'default: "1.2"')
        )
        marloft(project, "apply", "--force")
        marloft(project, "status", "--port-offset", str(serving.ports.offset))
        # Probes and scrapes come in all the same.
        ping = httpx2.get(f"http://127.0.0.1:{serving.ports.operations}/ping")
        assert ping.status_code == 200
    serving.wait_until(lambda: _answers(serving), "answer to other clients", 10)


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _answers(serving: Serving) -> bool:
    try:
        return serving.predict(features=[{"item_id": 50}]).status_code == 200
    except httpx2.HTTPError:
        return False


def test_too_few_descriptors_are_refused_with_the_line_to_write(serving: Serving) -> None:
    command = f"ulimit -n 100; exec {MARLOFT} serve --var other"
    done = subprocess.run(
        ["sh", "-c", command], cwd=serving.project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "at most 100 files may be open here, must be 192 at least" in done.stderr
