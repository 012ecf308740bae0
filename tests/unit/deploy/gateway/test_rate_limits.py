"""Limits of a model and of each client of it; that Envoy keeps them is test_gateway_chain's."""

import json

from marloft.contract.policy import RequestLimits
from marloft.contract.release import ReleasedModel
from marloft.deploy.gateway.rate_limits import RATE_LIMIT, rate_limits
from marloft.deploy.gateway.routes import render_routes
from tests.releases import made_release
from tests.unit.deploy.control.test_reconcile import pin

MODEL, ADDRESS = {"key": "model", "value": "ranker"}, {"key": "remote_address"}


def bucket(per_s: int) -> dict[str, object]:
    return {"max_tokens": per_s, "tokens_per_fill": per_s, "fill_interval": "1s"}


def test_without_limits_nothing_is_limited() -> None:
    assert rate_limits({"ranker": RequestLimits(), "outcomes": RequestLimits()}) == {}


def test_model_and_each_client_of_it_have_a_bucket() -> None:
    limits = {
        "ranker": RequestLimits(requests_per_s=500, per_client_per_s=50),
        "outcomes": RequestLimits(requests_per_s=9),
        "other": RequestLimits(),
    }
    config = rate_limits(limits)[RATE_LIMIT]
    assert config["descriptors"] == [
        {"entries": [{"key": "model", "value": "outcomes"}], "token_bucket": bucket(9)},
        {"entries": [MODEL], "token_bucket": bucket(500)},
        {"entries": [MODEL, ADDRESS], "token_bucket": bucket(50)},
    ]


def test_limits_are_in_the_route_file_of_their_release() -> None:
    model = ReleasedModel(
        default="1.0", versions={"1.0": pin("1.0")}, limits=RequestLimits(requests_per_s=7)
    )
    (config,) = json.loads(render_routes(made_release({"ranker": model})))["resources"]
    (host,) = config["virtual_hosts"]
    (found,) = host["typed_per_filter_config"][RATE_LIMIT]["descriptors"]
    assert found == {"entries": [MODEL], "token_bucket": bucket(7)}
