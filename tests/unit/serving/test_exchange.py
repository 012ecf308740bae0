"""A request's way through a batch: its latency, and that of a workflow's node, answered once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import factories
from marloft.contract.predict_api import NodeFacts, Refusal, RouteFacts
from marloft.runtimes import Arrays
from marloft.serving.exchange import Received, Response, finish
from tests.unit.serving.driver import FAULT_IN_PREDICT, Sent, Server, TinyRanker

MINE = NodeFacts(
    node="control",
    version="1.0",
    release=7,
    experiment="feed_ab",
    arm="control",
    propensity=0.5,
    request_id="a",
    arrived_s=1.5,
)
BODY = factories.body(7, [3, 1])


class Counting(TinyRanker):
    """Counts the rows it predicts."""

    rows = 0

    def predict(self, inputs: Arrays) -> Arrays:
        self.rows += len(inputs["user"])
        return super().predict(inputs)


@pytest.fixture
def node(
    tmp_path: Path, archive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Server]:
    """Start the tiny ranker under the name that TorchServe gives a workflow's node."""
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))

    def start(registered: str = "feed_ab__control") -> Server:
        server = Server(Counting(), archive_folder, tmp_path / "var", registered=registered)
        server.handler.rows = 0
        return server

    return start


def _told(facts: NodeFacts, body: dict[str, Any] = BODY, torchserve_id: str | None = None) -> Sent:
    return Sent(body=body | {"_marloft": msgspec.to_builtins(facts)}, torchserve_id=torchserve_id)


def _with(**changes: Any) -> NodeFacts:
    return msgspec.structs.replace(MINE, **changes)


def test_own_request_is_answered_and_logged_with_the_experiments_facts(
    node: Callable[..., Server],
) -> None:
    server = node()
    (answer,) = server.ask(_told(MINE))
    assert answer.body["scores"] == pytest.approx(factories.score(7, [3, 1]), abs=1e-6)
    assert answer.body["experiment"] == {"name": "feed_ab", "arm": "control"}
    assert answer.body["request_id"] == "a"
    (record,) = server.records()
    assert (record["model"], record["version"], record["intended_version"]) == (
        "ranker",
        "1.0",
        "1.0",
    )
    assert (record["release"], record["propensity"], record["attempt"]) == (7, 0.5, 1)
    assert record["request_id"] == "a"
    assert record["features"] == [{"item_id": 3}, {"item_id": 1}]
    assert record["latency_ms"] > 1e9


@pytest.mark.parametrize(
    "facts",
    [
        _with(node="treatment", arm="treatment", version="2.0"),
        _with(version="2.0"),
        # An A/A test: both nodes serve the same version, one of them is meant.
        _with(node="treatment", arm="treatment"),
    ],
)
def test_request_of_another_node_gets_nothing_and_is_not_logged(
    node: Callable[..., Server], facts: NodeFacts
) -> None:
    server = node()
    (other,) = server.ask(_told(facts))
    assert other.raw == b""
    assert server.records() == []
    assert server.handler.rows == 0


def test_batch_of_both_arms_keeps_its_order(node: Callable[..., Server]) -> None:
    server = node()
    other = _told(_with(node="treatment", version="2.0"))
    answers = server.ask(other, _told(MINE), other, _told(_with(request_id="b")))
    assert [bool(answer.raw) for answer in answers] == [False, True, False, True]
    assert [record["request_id"] for record in server.records()] == ["a", "b"]


def test_question_asked_again_gets_the_same_answer_and_no_second_record(
    node: Callable[..., Server],
) -> None:
    server = node()
    first, same_batch = server.ask(_told(MINE, torchserve_id="x"), _told(MINE, torchserve_id="x"))
    (later,) = server.ask(_told(MINE, torchserve_id="x"))
    assert first.raw == same_batch.raw == later.raw != b""
    assert len(server.records()) == 1
    (another,) = server.ask(_told(MINE, torchserve_id="y"))
    assert another.body["request_id"] == "a"
    assert len(server.records()) == 2


def test_refused_request_is_answered_without_a_status_and_logged_with_it(
    node: Callable[..., Server],
) -> None:
    server = node()
    refusal = Refusal(detail="The body is not JSON.", pointer="", status=400)
    (answer,) = server.ask(_told(_with(refusal=refusal), body={}))
    assert (answer.status, answer.content_type) == (200, None)
    assert (answer.body["status"], answer.body["title"]) == (400, "Bad request")
    (record,) = server.records()
    assert (record["status"], record["features"]) == (400, None)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (_told(MINE, factories.body(7, ["x"])), 422),
        (_told(MINE, factories.body(7, [FAULT_IN_PREDICT])), 500),
        (b"{", 400),
        (b"[]", 422),
        (BODY | {"_marloft": {"node": 7}}, 422),
        (BODY | {"_marloft": "x", "features": 1}, 422),
    ],
)
def test_node_answers_what_it_cannot_serve_with_a_problem(
    node: Callable[..., Server], body: Any, status: int
) -> None:
    server = node()
    (answer,) = server.ask(body)
    assert answer.status == 200
    assert answer.body["status"] == status
    assert [record["status"] for record in server.records()] == [status]


def test_workflow_without_an_assign_node_is_served_as_without_a_gateway(
    node: Callable[..., Server],
) -> None:
    server = node()
    (answer,) = server.ask(BODY)
    assert answer.body["prediction"]
    assert server.records()[0]["experiment"] is None


def test_clients_gateway_headers_mean_nothing_in_a_workflow(node: Callable[..., Server]) -> None:
    server = node()
    sent = _told(MINE)
    headers = {"x-marloft": "release=x", "x-envoy-attempt-count": "many"}
    (answer,) = server.ask(Sent(body=sent.body, headers=headers))
    assert answer.body["prediction"]
    assert server.records()[0]["release"] == 7


@pytest.mark.parametrize("registered", ["ranker", "another"])
def test_marloft_in_a_body_is_an_unknown_field_outside_a_workflow(
    node: Callable[..., Server], registered: str
) -> None:
    (answer,) = node(registered).ask(_told(MINE))
    assert answer.status == 422
    assert answer.body["errors"][0]["pointer"] == "/_marloft"


@pytest.mark.parametrize("kind", [RouteFacts(), RouteFacts(check=True), RouteFacts(probe=True)])
@pytest.mark.parametrize(
    ("arrived_s", "latency_ms"), [(99.0, 2000.0), (None, 1500.0), (102.0, 0.0)]
)
def test_latency_runs_from_arrival_whatever_the_request_is_for(
    monkeypatch: pytest.MonkeyPatch,
    kind: RouteFacts,
    arrived_s: float | None,
    latency_ms: float,
) -> None:
    received = Received(
        index=0,
        row={},
        headers={},
        torchserve_id="a",
        request_id="a",
        received_s=99.5,
        route=msgspec.structs.replace(kind, arrived_s=arrived_s),
    )
    monkeypatch.setattr("marloft.serving.exchange.time.time", lambda: 101.0)
    (exchange,) = finish([received], [Response()])
    assert exchange.latency_ms == latency_ms
    assert exchange.time == "1970-01-01T00:01:41.000+00:00"
