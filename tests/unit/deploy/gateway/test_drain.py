"""The gateway leaves the traffic first, then its port, then waits for what is under way."""

import json
from pathlib import Path

import msgspec
import pytest

from marloft.contract.release import Release
from marloft.deploy.gateway import acceptance
from marloft.deploy.gateway import drain as module
from marloft.deploy.gateway.discovery_files import file_version
from marloft.deploy.gateway.drain import STOPPING, drain, refuse_health
from marloft.deploy.gateway.routes import render_routes
from marloft.errors import ServingError
from tests.unit.deploy.local_server import Answer, Asked, LocalServer, as_json

RELEASE = {
    "release": 7,
    "time": "",
    "actor": "",
    "reason": "",
    "default_model": "ranker",
    "models": {
        "ranker": {"default": "1.0", "versions": {"1.0": {"sha256": "0" * 64, "settings": {}}}}
    },
}


def test_refused_health_is_first_and_every_other_route_stays() -> None:
    before = render_routes(msgspec.convert(RELEASE, Release))
    after = json.loads(refuse_health(before))
    host = after["resources"][0]["virtual_hosts"][0]
    first = host["routes"].pop(0)
    assert first["match"] == {"path": "/health"}
    assert first["direct_response"]["status"] == 503
    assert STOPPING in first["direct_response"]["body"]["inline_string"]
    unchanged = json.loads(before)
    assert after["resources"] == unchanged["resources"]
    assert after["version_info"] != unchanged["version_info"]


class Admin:
    """What Envoy's admin interface says: requests under way, one number a look, the last stays."""

    def __init__(self, routes: Path, *active: int) -> None:
        self.routes, self.active = routes, list(active)
        self.healthy_at_first_call: bool | None = None
        self.takes, self.asked_versions = True, 0

    def answer(self, asked: Asked) -> Answer:
        if self.healthy_at_first_call is None:
            self.healthy_at_first_call = STOPPING not in self.routes.read_text()
        if asked.method == "POST":
            return Answer(body="OK\n")
        if asked.query["filter"] == "version_text$":
            self.asked_versions += 1
            taken = self.routes.read_bytes() if self.takes else b""
            name = "http.gateway.rds.marloft.version_text"
            return as_json({"stats": [{"name": name, "value": file_version(taken)}]})
        value = self.active.pop(0) if len(self.active) > 1 else self.active[0]
        active = {"name": "http.gateway.downstream_rq_active", "value": value}
        return as_json({"stats": [active, {"histograms": {}}, {"name": "other", "value": 9}]})


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The gateway's route file; looks follow each other quickly."""
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.001)
    path = tmp_path / "routes.json"
    path.write_bytes(render_routes(msgspec.convert(RELEASE, Release)))
    return path


def test_drain_says_so_before_it_closes_the_port_and_looks(
    server: LocalServer, routes: Path
) -> None:
    admin = Admin(routes, 0)
    server.answer = admin.answer
    assert drain(server.port, routes, announce_s=0, limit_s=5) == 0
    assert admin.healthy_at_first_call is False
    assert [(asked.method, asked.path) for asked in server.asked[:4]] == [
        ("POST", "/healthcheck/fail"),
        ("GET", "/stats"),
        ("POST", "/drain_listeners"),
        ("GET", "/stats"),
    ]
    assert server.asked[1].query["filter"] == "version_text$"
    assert server.asked[3].query["filter"] == r"^http\.gateway\.downstream_rq_active$"


def test_drain_waits_until_nothing_has_been_under_way_for_some_looks(
    server: LocalServer, routes: Path
) -> None:
    server.answer = Admin(routes, 2, 0, 0, 1, 0).answer
    assert drain(server.port, routes, announce_s=0, limit_s=5) == 0
    looks = [asked for asked in server.asked if "active" in asked.query.get("filter", "")]
    assert len(looks) == 4 + 4, "four quiet looks after the last request"


def test_drain_writes_again_what_the_gateway_does_not_take_and_goes_on(
    server: LocalServer, routes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (module, acceptance):
        monkeypatch.setattr(each, "PATIENCE_S", 0.2)
    admin = Admin(routes, 0)
    admin.takes = False
    server.answer = admin.answer
    wrote: list[bytes] = []
    monkeypatch.setattr(module, "write_file", lambda _, content: wrote.append(content))
    assert drain(server.port, routes, announce_s=0, limit_s=5) == 0
    assert admin.asked_versions > 1
    assert len(wrote) > 1
    assert {STOPPING in content.decode() for content in wrote} == {True}


def test_drain_gives_up_at_its_limit_and_says_how_many_are_left(
    server: LocalServer, routes: Path
) -> None:
    server.answer = Admin(routes, 3).answer
    assert drain(server.port, routes, announce_s=0, limit_s=0.01) == 3


def test_drain_of_an_envoy_that_does_not_answer_is_an_error(
    server: LocalServer, routes: Path
) -> None:
    server.answer = lambda _: Answer(body="", status=500)
    said = "Envoy's admin interface does not answer POST /healthcheck/fail: "
    with pytest.raises(ServingError, match=said):
        drain(server.port, routes, announce_s=0, limit_s=1)


def test_drain_goes_on_where_no_file_can_be_written(server: LocalServer, routes: Path) -> None:
    admin = Admin(routes, 0)
    server.answer = admin.answer
    routes.unlink()
    routes.mkdir()
    admin.healthy_at_first_call = True
    assert drain(server.port, routes, announce_s=0, limit_s=5) == 0
