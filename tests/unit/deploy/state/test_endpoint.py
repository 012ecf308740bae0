"""The supervisor's endpoint answers from memory, as JSON and for Prometheus, and nothing else."""

import socket
from collections.abc import Iterator

import httpx2
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from marloft.contract.live import Live, VersionState
from marloft.deploy.running import ask_live
from marloft.deploy.state.endpoint import answering
from marloft.errors import ServingError
from tests.free_ports import free_ports

FOUND = Live(
    time="now",
    release=3,
    live=True,
    serving={"ranker": 3},
    versions={"ranker": {"1.0": VersionState(state="ready")}},
    faults={"the state folder": "[Errno 28] No space left on device"},
    restarts={"Envoy": 2},
    var="/srv/var",
    age_s=1.5,
)


class Endpoint:
    def __init__(self, port: int) -> None:
        self.port, self.live = port, FOUND

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)

    def samples(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.get("/metrics").text)
        return {
            f"{sample.name}{sorted(sample.labels.values())}": sample.value
            for family in families
            for sample in family.samples
        }


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint(free_ports().supervisor)
    with answering(found.port, lambda: found.live):
        yield found


def test_live_is_what_was_said(endpoint: Endpoint) -> None:
    assert ask_live(endpoint.port) == FOUND
    endpoint.live = replace(FOUND, release=4)
    assert ask_live(endpoint.port).release == 4


def test_metrics_have_faults_as_long_as_they_last(endpoint: Endpoint) -> None:
    found = endpoint.samples()
    assert found["marloft_serve_fault['the state folder']"] == 1
    assert found["marloft_serve_live[]"] == 1
    assert found["marloft_serve_restarts_total['Envoy']"] == 2
    assert found["marloft_serve_version_state['1.0', 'ranker', 'ready']"] == 1
    endpoint.live = replace(FOUND, faults={}, live=False)
    found = endpoint.samples()
    assert "marloft_serve_fault['the state folder']" not in found
    assert found["marloft_serve_live[]"] == 0


def test_last_look_is_a_time(endpoint: Endpoint) -> None:
    before = endpoint.samples()["marloft_serve_last_look_timestamp_seconds[]"]
    endpoint.live = replace(FOUND, age_s=101.5)
    after = endpoint.samples()["marloft_serve_last_look_timestamp_seconds[]"]
    assert 90 < before - after <= 100


def test_it_has_two_paths_and_reads_alone(endpoint: Endpoint) -> None:
    assert endpoint.get("/other").status_code == 404
    url = f"http://127.0.0.1:{endpoint.port}/live"
    assert httpx2.post(url, timeout=5).status_code == 501


def test_client_that_asks_nothing_holds_up_nobody(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port)):
        assert ask_live(endpoint.port) == FOUND


def test_port_in_use_is_named(endpoint: Endpoint) -> None:
    with (
        pytest.raises(ServingError, match=f"port {endpoint.port} .* is not usable"),
        answering(endpoint.port, lambda: FOUND),
    ):
        raise AssertionError
