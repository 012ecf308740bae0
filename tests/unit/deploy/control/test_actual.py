"""Everybody is asked at once, and nobody who hangs is waited for long."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from marloft.contract.live import Live
from marloft.deploy.control import actual as module
from marloft.deploy.control.actual import observe_actual
from marloft.deploy.ports import Ports
from marloft.deploy.running import exclusive
from marloft.deploy.state.endpoint import answering
from tests.free_ports import free_ports


@pytest.fixture
def hung() -> Iterator[Ports]:
    """Ports at which connections are taken and nothing is answered, as a stopped process does."""
    ports = free_ports()
    with ExitStack() as stack:
        for port in (ports.management, ports.envoy_admin, ports.supervisor):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield ports


def test_three_that_hang_cost_the_time_of_one(
    tmp_path: Path, hung: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ANSWER_S", 1.0)
    with exclusive(tmp_path, hung.supervisor):
        started = time.monotonic()
        found = observe_actual(tmp_path, hung)
        spent_s = time.monotonic() - started
    assert (found.serving, found.registered, found.routed, found.live) == (True, None, None, None)
    assert found.silent is not None
    assert f"`marloft serve` does not answer at port {hung.supervisor}" in found.silent
    assert 2 <= spent_s < 4, "two seconds for the supervisor, one for each of the others meanwhile"


def test_serve_whose_lock_is_gone_is_found_by_its_port(tmp_path: Path) -> None:
    ports = free_ports()
    live = Live(time="", release=1, live=True, serving={}, versions={}, var=str(tmp_path))
    with answering(ports.supervisor, lambda: live):
        assert observe_actual(tmp_path, ports).serving
        assert not observe_actual(tmp_path / "another", ports).serving


def test_nobody_is_asked_when_nothing_runs(tmp_path: Path) -> None:
    found = observe_actual(tmp_path, free_ports())
    assert (found.serving, found.registered, found.routed) == (False, None, None)
