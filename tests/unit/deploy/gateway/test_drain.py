import json

import msgspec

from marloft.contract.release import Release
from marloft.deploy.gateway.drain import STOPPING, refuse_health
from marloft.deploy.gateway.routes import render_routes

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
