"""Files are in force when Envoy says so; what it says of one that it does not take."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.deploy.gateway.acceptance import PATIENCE_S, Acceptance, Accepted, last_refusal
from marloft.deploy.gateway.discovery_files import discovery_response, file_version
from tests.unit.deploy.local_server import Answer, LocalServer, as_json

ROUTES = discovery_response("7", [{"name": "marloft"}])
STAT = "http.gateway.rds.marloft.version_text"
REFUSAL = (
    "[2026-11-30 19:55:08.560][4426][warning][config] [source/x.cc:120] Filesystem config update "
    "rejected: Proto constraint validation failed (all of \nthe file\n\n: value is required)\n"
    "[2026-11-30 19:55:09.277][4426][warning][main] [source/y.cc:1] something else\n"
)
FAILURE = "[2026-11-30][w][config] [y.cc:128] Filesystem config update failure: unable to read file"


@pytest.fixture
def gateway(server: LocalServer, tmp_path: Path) -> Iterator["Gateway"]:
    found = Gateway(server, tmp_path / "envoy.log")
    yield found
    found.acceptance.close()


class Gateway:
    """An Envoy that says it has taken `version`; time is moved by hand."""

    def __init__(self, server: LocalServer, log: Path) -> None:
        self.now, self.version, self.log = 0.0, "", log
        self.server = server
        server.answer = lambda _: as_json({"stats": [{"name": STAT, "value": self.version}]})
        self.acceptance = Acceptance(server.port, log, clock=lambda: self.now)

    def look(self, content: bytes | None = ROUTES, after: float = 0.0) -> Accepted:
        self.now += after
        return self.acceptance.look({"routes": content})["routes"]


def test_file_is_taken_when_envoy_says_its_version(gateway: Gateway) -> None:
    assert gateway.look() == Accepted(taken=False)
    gateway.version = file_version(ROUTES)
    assert gateway.look() == Accepted(taken=True)
    assert gateway.look(discovery_response("7", [])) == Accepted(taken=False)
    (asked, *_) = gateway.server.asked
    assert (asked.path, asked.query["type"]) == ("/stats", "TextReadouts")


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_no_file_and_one_without_a_version_are_never_taken(
    gateway: Gateway, content: bytes | None
) -> None:
    assert not gateway.look(content).taken


def test_file_that_is_not_taken_in_time_is_due_again_and_again(gateway: Gateway) -> None:
    why = f"Envoy does not say why; see {gateway.log}"
    assert gateway.look().overdue is None
    assert gateway.look(after=PATIENCE_S - 0.1) == Accepted(taken=False)
    assert gateway.look(after=0.2) == Accepted(taken=False, overdue=why, again=True)
    assert gateway.look(after=1) == Accepted(taken=False, overdue=why)
    assert gateway.look(after=PATIENCE_S).again
    gateway.version = file_version(ROUTES)
    assert gateway.look() == Accepted(taken=True)
    gateway.version = ""
    assert gateway.look() == Accepted(taken=False), "time begins anew"


def test_another_file_gets_time_of_its_own(gateway: Gateway) -> None:
    gateway.look()
    gateway.look(after=PATIENCE_S - 0.1)
    assert not gateway.look(discovery_response("8", []), after=0.2).again


def test_reason_is_envoys_own(gateway: Gateway) -> None:
    gateway.log.write_text(REFUSAL)
    gateway.look()
    assert gateway.look(after=PATIENCE_S).overdue == "config update rejected: value is required)"
    gateway.log.write_text(FAILURE)
    assert gateway.look(after=PATIENCE_S).overdue == "config update failure: unable to read file"


def test_envoy_that_does_not_answer_has_taken_nothing(gateway: Gateway) -> None:
    gateway.server.answer = lambda _: Answer(body="", status=500)
    assert gateway.acceptance.versions() is None
    gateway.look()
    assert gateway.look(after=PATIENCE_S).overdue == "Envoy's admin interface does not answer"


def test_without_a_log_there_is_no_reason(tmp_path: Path) -> None:
    assert last_refusal(tmp_path / "none") == ""
