"""What Envoy's routes mean is read back as the release that they were rendered from."""

import json

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import RolloutPlan
from marloft.contract.release import ReleasedModel, ReleasedVersion
from marloft.deploy.gateway.observed_routes import ModelRoutes, model_routes, observe_routes
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.release.rollouts import begin
from marloft.errors import ServingError
from tests.free_ports import free_ports
from tests.releases import made_release

PINNED = ReleasedVersion(sha256="a" * 64, settings=WorkerSettings())
OLD = ReleasedModel(default="1.0", versions={"1.0": PINNED})
NEW = ReleasedModel(default="1.1", versions={"1.0": PINNED, "1.1": PINNED})
RAMP = begin(OLD, NEW, RolloutPlan(steps=[5]))


def read_back(model: ReleasedModel, *down: str) -> dict[str, ModelRoutes]:
    release = made_release({"ranker": model, "outcomes": OLD}, 7)
    rendered = render_routes(release, [("ranker", version) for version in down])
    (config,) = json.loads(rendered)["resources"]
    return model_routes(config["virtual_hosts"][0]["routes"])


def test_routes_are_read_back_by_model() -> None:
    plain = ModelRoutes(release=7, default="1.0", arms={}, pinned=["1.0"])
    assert read_back(OLD) == {"ranker": plain, "outcomes": plain}


def test_split_is_read_back_with_its_weights() -> None:
    found = read_back(RAMP)["ranker"]
    assert found.arms == {"1.0": 95, "1.1": 5}
    assert (found.default, found.pinned) == ("1.0", ["1.0", "1.1"])


def test_version_that_is_not_ready_has_no_route() -> None:
    found = read_back(RAMP, "1.1")["ranker"]
    assert (found.arms, found.pinned, found.default) == ({}, ["1.0"], "1.0")
    assert "ranker" not in read_back(OLD, "1.0")


def test_gateway_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(ServingError, match="does not answer GET /config_dump"):
        observe_routes(free_ports().envoy_admin)
