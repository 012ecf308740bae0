"""One request on its way through a batch: what came, what was found, what is logged."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from marloft.contract.predict_api import (
    ATTEMPT_HEADER,
    DO_NOT_RETRY_HEADER,
    NO_ROUTE,
    PROBLEM_JSON,
    ROUTE_HEADER,
    NodeBody,
    Problem,
    RouteFacts,
    parse_route_header,
)
from marloft.contract.records import PredictionRecord
from marloft.runtimes import Arrays
from marloft.serving.intake import Rejected, Request, refused, request_id_of
from marloft.serving.loaded_archive import LoadedArchive
from marloft.serving.prediction import EncodedPrediction

_NODE_BODY = msgspec.json.Decoder(NodeBody)
_NULL = msgspec.Raw(b"null")


@dataclass(kw_only=True, slots=True)
class Exchange:
    """The state of one request inside `Handler.handle`; each stage fills its part.

    `rows` are the model's for this request, `run_ms` how long the run took that it shared,
    `predict_ms` its part of that by rows.
    `asked_id` is TorchServe's own id. `ours` is false for a request that another node of the
    workflow answers.
    """

    index: int
    row: Mapping[str, Any]
    headers: Mapping[str, Any]
    request_id: str
    route: RouteFacts = NO_ROUTE
    asked_id: str = ""
    ours: bool = True
    attempt: int = 1
    received_s: float = field(default_factory=time.time)
    request: Request | None = None
    inputs: Arrays | None = None
    rows: int = 0
    outputs: Arrays | None = None
    admit_ms: float | None = None
    run_ms: float | None = None
    compose_ms: float | None = None
    predict_ms: float | None = None
    prediction: EncodedPrediction | None = None
    problem: Problem | None = None
    error: str | None = None
    latency_ms: float = 0.0

    def record(self, archive: LoadedArchive, archive_sha256: str | None) -> PredictionRecord:
        """Fix `latency_ms` and return the line for the prediction log."""
        now = time.time()
        arrived = self.route.arrived_s or self.received_s
        self.latency_ms = round(max(0.0, now - arrived) * 1e3, 3)
        answer = self.prediction if self.problem is None else None
        return PredictionRecord(
            time=datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            request_id=self.request_id,
            attempt=self.attempt,
            role="answer",
            status=self.problem.status if self.problem else 200,
            user_id=self.request.user_id if self.request else None,
            model=archive.name,
            version=archive.version,
            intended_version=self.route.version,
            archive_sha256=archive_sha256,
            release=self.route.release,
            experiment=self.route.experiment,
            arm=self.route.arm,
            propensity=self.route.propensity,
            features=self.request.features if self.request else _NULL,
            prediction=answer.prediction if answer else None,
            scores=answer.scores if answer else None,
            queue_ms=self._queue_ms(),
            predict_ms=None if self.predict_ms is None else round(self.predict_ms, 4),
            latency_ms=self.latency_ms,
            stages=self._stages(),
            error=self.error or (self.problem.detail if self.problem else None),
            extra=answer.extra if answer else None,
        )

    def _stages(self) -> dict[str, float]:
        spent = {"admit": self.admit_ms, "predict": self.run_ms, "compose": self.compose_ms}
        return {stage: round(ms, 4) for stage, ms in spent.items() if ms is not None}

    def _queue_ms(self) -> float | None:
        if self.route.arrived_s is None:
            return None
        return round(max(0.0, self.received_s - self.route.arrived_s) * 1e3, 3)


def open_exchange(index: int, row: Mapping[str, Any], context: Any) -> Exchange:
    """Start the exchange of request `index` of a TorchServe batch.

    Without a gateway the headers are the client's own: malformed ones refuse this request alone.
    """
    headers = lower_headers(context.get_all_request_header(index))
    exchange = Exchange(
        index=index,
        row=row,
        headers=headers,
        request_id=request_id_of(headers, context.get_request_id(index)),
    )
    try:
        exchange.route = parse_route_header(headers.get(ROUTE_HEADER))
        exchange.attempt = int(headers.get(ATTEMPT_HEADER) or 1)
    except ValueError as error:
        detail = f"{ROUTE_HEADER} or {ATTEMPT_HEADER} is malformed ({error}); leave both out."
        exchange.problem = Rejected(detail, status=400).problem(exchange.request_id)
    return exchange


def open_node_exchange(
    index: int, row: Mapping[str, Any], context: Any, archive: LoadedArchive
) -> Exchange:
    """Start an exchange inside a workflow: the body's `_marloft` stands for the gateway's header.

    The headers are the client's own. A workflow without an assign node leaves `_marloft` out: then
    the request is ours, as without a gateway.
    """
    headers = lower_headers(context.get_all_request_header(index))
    exchange = Exchange(
        index=index,
        row=row,
        headers=headers,
        request_id=request_id_of(headers, context.get_request_id(index)),
        asked_id=context.get_request_id(index),
    )
    try:
        facts = _NODE_BODY.decode(row["body"]).marloft
    except msgspec.ValidationError as error:
        refusal = Rejected(f"The body is not one that an assign node sends: {error}.")
        exchange.problem = refusal.problem(exchange.request_id)
        return exchange
    except (KeyError, TypeError, UnicodeDecodeError, RecursionError, msgspec.DecodeError):
        # Without a readable body; the intake refuses it with the reason.
        return exchange
    if facts is not None:
        exchange.ours = (facts.node, facts.version) == (archive.node, archive.version)
        exchange.route, exchange.request_id = facts, facts.request_id
        if facts.refusal is not None:
            exchange.problem = refused(facts.refusal).problem(facts.request_id)
    return exchange


def answer_problem(problem: Problem, index: int, context: Any) -> bytes:
    """Set status and headers of request `index` for a problem; return its body (RFC 9457).

    What the handler itself reports as failed is marked, so that the gateway does not try again.
    """
    context.set_response_status(code=problem.status, phrase=problem.title, idx=index)
    context.set_response_content_type(index, PROBLEM_JSON)
    if problem.status >= 500:
        context.set_response_header(index, DO_NOT_RETRY_HEADER, "1")
    return msgspec.json.encode(problem)


def lower_headers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Lower the names; TorchServe keeps the body's own content type under the parameter `body`."""
    headers = {name.lower(): value for name, value in given.items()}
    body = headers.get("body")
    if "content-type" not in headers and isinstance(body, Mapping):
        headers["content-type"] = body.get("content-type")
    return headers
