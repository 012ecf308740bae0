"""A cluster for each version, with as many requests under way as its workers can answer soon."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Allocation, Arm, Key, ReleasedModel, ReleasedVersion
from marloft.deploy.gateway.clusters import (
    cluster_name,
    cluster_names,
    most_requests,
    render_clusters,
    version_limits,
    with_earlier,
)
from marloft.deploy.gateway.discovery_files import file_version

ONE: Key = ("ranker", "1.0")
TWO: Key = ("ranker", "2.0")
BROKEN = [None, b"", b"{", b"[]", b'{"resources": 1}', b'{"resources": [{}]}']


def pin(workers: int = 1, batch_size: int = 1) -> ReleasedVersion:
    settings = WorkerSettings(workers=workers, batch_size=batch_size)
    return ReleasedVersion(sha256="a" * 64, settings=settings)


def clusters(content: bytes) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(content)["resources"]}


def rendered(*keys: Key, answer_s: Mapping[Key, float] | None = None, port: int = 8080) -> bytes:
    versions = {version: pin() for _, version in keys}
    arms = [Arm(name=f"arm{version}", version=version, weight=1) for version in sorted(versions)]
    split = Allocation(name="test", salt="s", unit="user_id", arms=arms)
    model = ReleasedModel(default=min(versions), versions=versions, allocation=split)
    return render_clusters({"ranker": model}, answer_s or {}, port)


@pytest.mark.parametrize(
    ("workers", "batch_size", "answer_s", "most"),
    [
        # At least one batch that runs and one that waits.
        (1, 1, 2.0, 2),
        (2, 16, 2.0, 64),
        (2, 16, 0.050, 64),
        # A third of a second of answers: 0.3 s / 2⁻⁸ s.
        (1, 16, 0.004, 76),
        (2, 16, 0.004, 153),
        # A fast model has a bound all the same.
        (2, 16, 1e-9, 512),
        (1, 1, None, 9),
        (1, 16, None, 32),
    ],
)
def test_limit_follows_from_workers_batch_and_time(
    workers: int, batch_size: int, answer_s: float | None, most: int
) -> None:
    settings = WorkerSettings(workers=workers, batch_size=batch_size)
    assert abs(most_requests(settings, answer_s) - most) <= 1


def test_limit_stays_when_the_time_is_measured_a_little_differently() -> None:
    found = {most_requests(pin().settings, ms / 1000) for ms in (3.0, 3.5, 4.0, 4.5, 5.0, 5.5)}
    assert len(found) == 1


def test_versions_by_name_alone_take_half_of_the_defaults_part_or_two_batches() -> None:
    versions = {version: pin() for version in ("1.0", "2.0", "3.0", "4.0")}
    fast = {("ranker", version): 1e-9 for version in versions}
    model = ReleasedModel(default="1.0", versions=versions)
    found = version_limits("ranker", model, fast)
    assert found == {"1.0": 256, "2.0": 42, "3.0": 42, "4.0": 42}
    slow = version_limits("ranker", model, fast | {("ranker", "3.0"): 2.0})
    assert slow == found | {"3.0": 2}, "no more than a slow one may at all"
    large = versions | {"2.0": pin(batch_size=64)}
    batches = version_limits("ranker", ReleasedModel(default="1.0", versions=large), fast)
    assert batches["2.0"] == 128, "one batch that runs and one that waits"


def test_each_version_has_a_cluster_of_its_own_on_torchserves_port() -> None:
    content = rendered(TWO, ONE, answer_s={ONE: 2.0, TWO: 0.004}, port=8180)
    assert list(clusters(content)) == ["ranker@1.0", "ranker@2.0"]
    assert cluster_names(content) == {cluster_name(*ONE), cluster_name(*TWO)}
    slow, fast = clusters(content).values()
    assert slow["circuit_breakers"]["thresholds"] == [
        {"max_requests": 2, "max_pending_requests": 2, "max_retries": 2, "max_connections": 4}
    ]
    assert fast["circuit_breakers"]["thresholds"][0]["max_requests"] > 2
    assert slow["alt_stat_name"] == "ranker@1_0"
    (endpoints,) = slow["load_assignment"]["endpoints"]
    address = endpoints["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert address == {"address": "127.0.0.1", "port_value": 8180}


def test_file_does_not_depend_on_the_order_of_versions() -> None:
    assert rendered(ONE, TWO) == rendered(TWO, ONE)
    assert file_version(rendered(ONE)) != file_version(rendered(ONE, TWO))


def test_earlier_clusters_stay_and_those_of_both_are_the_new_ones() -> None:
    earlier, now = rendered(ONE, TWO, port=1), rendered(TWO)
    both = with_earlier(earlier, now)
    assert clusters(both) == {
        "ranker@1.0": clusters(earlier)["ranker@1.0"],
        "ranker@2.0": clusters(now)["ranker@2.0"],
    }
    assert with_earlier(both, now) == both
    assert with_earlier(now, now) == now


@pytest.mark.parametrize("content", BROKEN)
def test_file_that_cannot_be_read_has_no_clusters(content: bytes | None) -> None:
    assert cluster_names(content) == frozenset()
    assert with_earlier(content, rendered(ONE)) == rendered(ONE)
