"""Takes the gateway out of traffic: says so, stops accepting, and waits for the last answer."""

import contextlib
import time
from pathlib import Path

import httpx2
import msgspec

from marloft.deploy.gateway.acceptance import PATIENCE_S, Acceptance
from marloft.deploy.gateway.discovery_files import discovery_response, write_file
from marloft.deploy.gateway.replies import answer
from marloft.errors import ServingError

STOPPING = "This server is stopping; ask another one."
_ACTIVE = "http.gateway.downstream_rq_active"
_LOOK_EVERY_S = 0.1
# A request that has just arrived on a kept connection may not be counted at the first look.
_QUIET_LOOKS = 3


def drain(admin_port: int, routes: Path, *, announce_s: float, limit_s: float) -> int:
    """Stop taking requests without losing one, and return how many were still under way.

    For `announce_s` seconds everything is still answered while `GET /health` says 503 and each
    answer ends its connection, so that balancers and kept connections go elsewhere; they begin
    when the gateway has taken these routes, or after some seconds in which it has not. Then its
    port closes, and at most `limit_s` seconds are left for what is under way.

    Args:
        admin_port: Envoy's admin interface.
        routes: the gateway's route file, which nobody else writes any more.
        announce_s: seconds, 0 when no balancer looks at `/health`.
        limit_s: seconds, the longest that a request may last.

    Raises:
        ServingError: Envoy does not answer.
    """
    with httpx2.Client(base_url=f"http://127.0.0.1:{admin_port}", timeout=5) as admin:
        stopping = _announce(routes)
        _call(admin, "POST", "/healthcheck/fail")
        if stopping is not None:
            _wait_until_taken(Acceptance(admin_port), routes, stopping)
        time.sleep(announce_s)
        _call(admin, "POST", "/drain_listeners?inboundonly")
        return _wait_for_silence(admin, limit_s)


def refuse_health(routes: bytes) -> bytes:
    """Return a route file in which `GET /health` is 503 and all else is as in `routes`."""
    config = msgspec.json.decode(routes)
    for host in config["resources"][0]["virtual_hosts"]:
        host["routes"].insert(0, answer({"path": "/health"}, 503, STOPPING))
    label = config["version_info"].partition("#")[0]
    return discovery_response(f"{label}-stopping", config["resources"])


def _announce(routes: Path) -> bytes | None:
    """Return the routes that were written; None where no file can be.

    Balancers then see only that connections are ended.
    """
    try:
        stopping = refuse_health(routes.read_bytes())
        write_file(routes, stopping)
    except OSError:
        return None
    return stopping


def _wait_until_taken(acceptance: Acceptance, routes: Path, content: bytes) -> None:
    with contextlib.closing(acceptance):
        deadline = time.monotonic() + 2 * PATIENCE_S
        while not (seen := acceptance.look({"routes": content})["routes"]).taken:
            if time.monotonic() > deadline:
                return
            if seen.again:
                with contextlib.suppress(OSError):
                    write_file(routes, content)
            time.sleep(_LOOK_EVERY_S)


def _wait_for_silence(admin: httpx2.Client, limit_s: float) -> int:
    deadline = time.monotonic() + limit_s
    quiet = 0
    while (active := _active(admin)) or quiet < _QUIET_LOOKS:
        quiet = 0 if active else quiet + 1
        if time.monotonic() > deadline:
            return active
        time.sleep(_LOOK_EVERY_S)
    return 0


def _active(admin: httpx2.Client) -> int:
    query = f"/stats?format=json&filter=^{_ACTIVE.replace('.', '%5C.')}$"
    stats = _call(admin, "GET", query).json()["stats"]
    return sum(int(entry["value"]) for entry in stats if entry.get("name") == _ACTIVE)


def _call(admin: httpx2.Client, method: str, path: str) -> httpx2.Response:
    try:
        return admin.request(method, path).raise_for_status()
    except httpx2.HTTPError as error:
        raise ServingError(
            f"Envoy's admin interface does not answer {method} {path}: {error}."
        ) from error
