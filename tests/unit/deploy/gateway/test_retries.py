"""The gateway's limits follow the archives: a slow model gets its time, a fast one no more."""

import json

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Release, ReleasedModel, ReleasedVersion
from marloft.deploy.gateway.retries import (
    longest_request_s,
    request_limit_s,
    retries,
    try_limit_s,
)
from marloft.deploy.gateway.routes import render_routes
from tests.releases import made_release


def released(*timeouts_s: int) -> Release:
    versions = {
        f"{number}.0": ReleasedVersion(
            sha256="0" * 64, settings=WorkerSettings(response_timeout_s=timeout_s)
        )
        for number, timeout_s in enumerate(timeouts_s, start=1)
    }
    return made_release({"ranker": ReleasedModel(default="1.0", versions=versions)}, 1)


@pytest.mark.parametrize(
    ("timeout_s", "try_s", "request_s", "again"),
    [(1, 1.5, 20, 14), (3, 3.5, 20, 6), (10, 10.5, 21, 4), (60, 60.5, 121, 4)],
)
def test_limits_leave_room_for_a_restart_and_a_second_try(
    timeout_s: int, try_s: float, request_s: float, again: int
) -> None:
    settings = [WorkerSettings(response_timeout_s=timeout_s)]
    assert (try_limit_s(settings), request_limit_s(settings)) == (try_s, request_s)
    assert retries(settings) == again


def test_longest_request_is_that_of_the_slowest_version() -> None:
    assert longest_request_s(released(3, 30)) == 61


def test_each_version_has_its_own_limit_in_the_routes() -> None:
    (config,) = json.loads(render_routes(released(3, 30)))["resources"]
    limits = {
        header["header"]["value"]: route["route"]["retry_policy"]["per_try_timeout"]
        for route in config["virtual_hosts"][0]["routes"]
        for header in route.get("request_headers_to_add", [])
        if header["header"]["key"] == "x-marloft-v" and route["match"].get("path") == "/predict"
    }
    assert limits == {"1.0": "3.5s", "2.0": "30.5s"}
