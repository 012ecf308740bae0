"""Envoy's text to counts per arm; that a real Envoy writes such text is tests/e2e's to show."""

from collections.abc import Iterator

import pytest

from marloft.contract.metric_names import GATEWAY_LATENCY_BUCKETS_US
from marloft.deploy.gateway.counts import GatewayCounts, Series, Traffic, increase, parse_counts
from marloft.errors import ServingError
from tests.unit.deploy.local_server import Answer, LocalServer

CANARY = Series(model="ranker", version="2.0", experiment="rollout-2.0", arm="canary")
LABELS = 'model="ranker",version="2.0",experiment="rollout-2.0",arm="canary"'


def text(codes: dict[int, int], fast: int, total: int) -> str:
    """Envoy's form: cumulative buckets, of which `fast` requests took at most 10 ms."""
    requests, latency = "envoy_marloft_gateway_requests", "envoy_marloft_gateway_latency"
    lines = [f"# TYPE {requests} counter"]
    lines += [f'{requests}{{{LABELS},code="{code}"}} {count}' for code, count in codes.items()]
    lines.append(f"# TYPE {latency}_microseconds histogram")
    for bound in GATEWAY_LATENCY_BUCKETS_US:
        count = 0 if bound < 10_000 else fast if bound < 50_000 else total
        lines.append(f'{latency}_microseconds_bucket{{{LABELS},le="{bound}"}} {count}')
    lines.append(f'{latency}_microseconds_bucket{{{LABELS},le="+Inf"}} {total}')
    lines.append(f"{latency}_microseconds_sum{{{LABELS}}} 99.5")
    lines.append(f"{latency}_microseconds_count{{{LABELS}}} {total}")
    return "\n".join(lines) + "\n"


def ended(code: int, flags: str, cause: str = "", count: int = 1) -> str:
    """One of Envoy's counters of requests that ended in this way."""
    end = f'code="{code}",flags="{flags}",cause="{cause}"'
    return f"envoy_marloft_gateway_requests{{{LABELS},{end}}} {count}\n"


class Admin(LocalServer):
    """Stands where Envoy's admin interface would, so that its counters can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.answer = lambda _: Answer(body=self.text)


@pytest.fixture
def admin() -> Iterator[Admin]:
    found = Admin()
    yield found
    found.close()


def test_counts_are_answers_errors_and_buckets_by_arm() -> None:
    found = parse_counts(text({200: 90, 422: 5, 503: 3, 500: 2, 0: 7}, fast=80, total=107))
    assert found.keys() == {CANARY}
    traffic = found[CANARY]
    assert (traffic.answered, traffic.errors, traffic.timed) == (100, 5, 107)
    assert (traffic.slower(7.5), traffic.slower(10), traffic.slower(50)) == (107, 27, 0)


def test_what_the_version_did_not_do_is_counted_apart() -> None:
    counted = text({200: 90}, fast=80, total=90)
    head, _, rest = counted.partition("\n")
    ends = [
        ended(500, "-", count=2),
        ended(504, "UT", count=3),
        ended(503, "UO", count=5),
        ended(503, "URX", "queue", count=7),
        ended(503, "-", "log", count=11),
        ended(503, "URX,UF", count=13),
        ended(0, "DC", count=17),
    ]
    traffic = parse_counts("\n".join([head, *map(str.strip, ends), rest]))[CANARY]
    assert (traffic.answered, traffic.errors) == (95, 5)
    assert (traffic.refused, traffic.excluded, traffic.offered) == (12, 41, 148)
    assert (traffic.timed, traffic.slower(10_000)) == (93, 3)


def test_blame_makes_errors_of_refusals() -> None:
    blamed = Traffic(answered=10, errors=1, refused=5, excluded=2).blamed()
    assert blamed == Traffic(answered=15, errors=6, excluded=2)


def test_nothing_counted_is_nothing() -> None:
    assert parse_counts("") == {}


def added(counts: GatewayCounts) -> Traffic:
    """What was counted since the last look."""
    new = counts.read_new()
    assert new is not None
    return new[CANARY]


def test_first_look_is_where_counting_begins(admin: Admin) -> None:
    counts = GatewayCounts(admin.port)
    admin.text = text({200: 40}, fast=40, total=40)
    assert counts.read_new() is None
    admin.text = text({200: 49, 500: 1}, fast=45, total=50)
    new = added(counts)
    assert (new.answered, new.errors, new.timed, new.slower(10)) == (10, 1, 10, 5)
    assert added(counts) == Traffic()


def test_counters_that_began_anew_are_all_new(admin: Admin) -> None:
    counts = GatewayCounts(admin.port)
    admin.text = text({200: 40}, fast=40, total=40)
    counts.read_new()
    admin.text = text({200: 3, 500: 1}, fast=4, total=4)
    new = added(counts)
    assert (new.answered, new.errors, new.timed) == (4, 1, 4)


def test_increase_is_never_negative() -> None:
    now = Traffic(answered=50, errors=0)
    assert increase(Traffic(answered=40, errors=3), now) == now


def test_gateway_that_is_away_is_said(admin: Admin) -> None:
    admin.close()
    with pytest.raises(ServingError, match="does not give its counts"):
        GatewayCounts(admin.port).read_new()
