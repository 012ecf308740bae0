"""What is asked becomes a fault when it lasts, and no longer than it lasts."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from marloft.contract.predict_api import Problem, parse_route_header
from marloft.deploy.control import probes as module
from marloft.deploy.control.probes import HEALTH, Probes
from marloft.deploy.faults import Faults
from marloft.deploy.ports import Exposure, Ports
from tests.unit.deploy.local_server import Answer, Asked, LocalServer, as_json

FULL = as_json(Problem(title="t", status=503, detail="no space"), 503)
KEY = ("ranker", "2.0")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.05)
    monkeypatch.setattr(module, "SILENT_S", 0.3)


@pytest.fixture
def faults() -> Faults:
    return Faults(lambda _: None)


@pytest.fixture
def probes(server: LocalServer, faults: Faults) -> Iterator[Probes]:
    found = Probes(Ports(offset=server.port - Ports().inference), Exposure(), faults)
    yield found
    found.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_version_is_probed_directly_with_a_deadline(server: LocalServer, probes: Probes) -> None:
    probes.follow({KEY: 0.1}, health=False)
    until(lambda: len(server.asked) > 2)
    asked = server.asked[0]
    facts = parse_route_header(asked.headers["x-marloft"])
    assert (asked.method, asked.path, facts.probe) == ("GET", "/predictions/ranker/2.0", True)
    assert facts.limit_s == 0.5
    assert facts.arrived_s == pytest.approx(time.time(), abs=20)


def test_refusal_that_lasts_is_a_fault_with_its_reason_until_it_is_over(
    server: LocalServer, faults: Faults, probes: Probes
) -> None:
    server.answer = lambda _: FULL
    probes.follow({KEY: 0.0}, health=False)
    until(lambda: bool(faults.current))
    assert faults.current == {"ranker 2.0": "a probe is answered 503: no space"}
    assert len(server.asked) > 1, "one refusal is none"
    server.answer = lambda _: Answer(body=b"{}")
    until(lambda: not faults.current)


def test_one_refusal_between_good_answers_is_no_fault(
    server: LocalServer, faults: Faults, probes: Probes
) -> None:
    count = iter(range(1_000_000))
    server.answer = lambda _: as_json({}, 503 if next(count) % 2 else 200)
    probes.follow({KEY: 0.0}, health=False)
    until(lambda: len(server.asked) > 8)
    assert faults.current == {}


def test_silence_is_a_fault_and_holds_up_no_other(
    server: LocalServer, faults: Faults, probes: Probes
) -> None:
    silent = threading.Event()

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("/2.0"):
            silent.wait(20)
        return Answer(body=b"{}")

    server.answer = answer
    probes.follow({KEY: 0.0, ("ranker", "1.0"): 0.0}, health=False)
    until(lambda: bool(faults.current))
    assert faults.current == {"ranker 2.0": "no answer to a probe in 0 s"}
    assert sum(asked.path.endswith("/1.0") for asked in server.asked) > 2
    silent.set()
    until(lambda: not faults.current)


def test_slow_version_may_be_silent_for_longer(
    server: LocalServer, faults: Faults, probes: Probes
) -> None:
    def answer(_: Asked) -> Answer:
        time.sleep(0.6)
        return Answer(body=b"{}")

    server.answer = answer
    probes.follow({KEY: 5.0}, health=False)
    until(lambda: len(server.asked) > 2)
    assert faults.current == {}


def test_torchserves_own_words_and_a_hang_up_are_told(
    server: LocalServer, faults: Faults, probes: Probes
) -> None:
    server.answer = lambda _: Answer(body='{"code": 503}', status=503)
    probes.follow({KEY: 0.0}, health=False)
    until(lambda: faults.current == {"ranker 2.0": 'a probe is answered 503: {"code": 503}'})
    server.answer = lambda _: None
    until(lambda: "no answer to a probe: " in faults.current["ranker 2.0"])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_health_is_asked_of_the_gateway(server: LocalServer, faults: Faults, host: str) -> None:
    server.answer = lambda _: FULL
    ports = Ports(offset=server.port - Ports().gateway)
    probes = Probes(ports, Exposure(gateway=host), faults)
    probes.follow({}, health=True)
    until(lambda: bool(faults.current))
    assert faults.current == {HEALTH: "a probe is answered 503: no space"}
    assert server.asked[0].path == "/health"
    probes.close()
    assert faults.current == {}


def test_who_is_asked_no_more_leaves_no_fault(
    server: LocalServer, faults: Faults, probes: Probes
) -> None:
    server.answer = lambda _: FULL
    probes.follow({KEY: 0.0}, health=False)
    until(lambda: bool(faults.current))
    probes.follow({}, health=False)
    assert faults.current == {}
    time.sleep(0.3)
    asked = len(server.asked)
    time.sleep(0.3)
    assert (faults.current, len(server.asked)) == ({}, asked)
