"""When the gateway has no request on its way to a version."""

from marloft.contract.release import Key
from marloft.deploy.gateway.in_flight import SETTLE_S, InFlight
from tests.unit.deploy.local_server import Answer, LocalServer

OLD: Key = ("ranker", "1.0")
LONGEST_S = 20.0


class Counted(InFlight):
    """What Envoy would say, and the time, are set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: dict[Key, int] | None = {}
        super().__init__(0, clock=lambda: self.now)

    def counts(self) -> dict[Key, int] | None:
        return self.said

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return OLD in self.drained([OLD])


def changed() -> Counted:
    counted = Counted()
    counted.routes_changed(LONGEST_S)
    return counted


def test_drained_after_a_settling_time_without_requests() -> None:
    counted = changed()
    assert not counted.after(0)
    assert not counted.after(SETTLE_S - 0.1)
    assert counted.after(0.2)


def test_a_request_under_way_begins_the_settling_time_anew() -> None:
    counted = changed()
    counted.after(0)
    counted.said = {OLD: 1}
    assert not counted.after(SETTLE_S + 1)
    counted.said = {OLD: 0}
    assert not counted.after(1)
    assert not counted.after(SETTLE_S - 0.1)
    assert counted.after(0.2)


def test_new_routes_begin_the_settling_time_anew() -> None:
    counted = changed()
    counted.after(0)
    counted.after(SETTLE_S - 0.1)
    counted.routes_changed(LONGEST_S)
    assert not counted.after(0.2)
    assert counted.after(SETTLE_S + 0.1)


def test_routes_that_are_not_in_force_yet_begin_it_anew_and_the_limit_too() -> None:
    counted = changed()
    counted.after(SETTLE_S - 0.1)
    counted.routes_pending()
    assert not counted.after(0.2)
    assert counted.after(SETTLE_S + 0.1)
    counted.said = {OLD: 1}
    counted.routes_pending()
    assert not counted.after(LONGEST_S - 0.1)
    assert counted.after(0.2)


def test_time_decides_where_the_count_stays_or_is_unknown() -> None:
    for said in ({OLD: 1}, None):
        counted = changed()
        counted.said = said
        assert not counted.after(LONGEST_S - 0.1)
        assert counted.after(0.2)


def test_counts_are_unknown_without_an_envoy() -> None:
    assert InFlight(1).counts() is None


def test_counts_are_the_gateways_by_model_and_version(server: LocalServer) -> None:
    name = "envoy_marloft_gateway_in_flight"
    server.answer = lambda _: Answer(
        body=f"""# TYPE {name} gauge
{name}{{model="ranker",version="1.0"}} 2
{name}{{model="outcomes",version="1.1"}} 0
# TYPE {name}_other gauge
{name}_other{{model="ranker",version="1.0"}} 7
"""
    )
    in_flight = InFlight(server.port)
    assert in_flight.counts() == {("ranker", "1.0"): 2, ("outcomes", "1.1"): 0}
    assert server.asked[0].path == "/stats/prometheus"
    server.answer = lambda _: Answer(body="", status=500)
    assert in_flight.counts() is None
    in_flight.close()
