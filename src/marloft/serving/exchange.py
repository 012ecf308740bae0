"""One request on its way through a batch: a value for each stage, made from the one before.

`Received`, `Admitted`, `Predicted`, `Response`, `Exchange`; what is refused or fails gets its
`Response` at once. `stages` are the times of those that were reached, in ms.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from marloft.contract.encode_answer import Answer
from marloft.contract.predict_api import (
    ATTEMPT_HEADER,
    CAUSE_HEADER,
    DO_NOT_RETRY_HEADER,
    NO_ROUTE,
    PROBLEM_JSON,
    ROUTE_HEADER,
    Cause,
    ExperimentArm,
    Health,
    NodeBody,
    PredictResponse,
    Problem,
    RouteFacts,
    parse_route_header,
)
from marloft.contract.records import PredictionRecord
from marloft.contract.response import type_of
from marloft.runtimes import Arrays
from marloft.serving.intake import Request, request_id_of
from marloft.serving.loaded_archive import LoadedArchive
from marloft.serving.refusals import Rejected, refused

_NODE_BODY = msgspec.json.Decoder(NodeBody)
_NULL = msgspec.Raw(b"null")


class Received(Struct, frozen=True, kw_only=True, gc=False):
    """A request as it came; `problem` is set when its headers are malformed or a node refused it.

    `torchserve_id` is TorchServe's own id, `request_id` the gateway's, the client's or else the
    same. `for_this_node` is false when another node of the workflow answers.
    """

    index: int
    row: Mapping[str, Any]
    headers: Mapping[str, Any]
    torchserve_id: str
    request_id: str
    received_s: float = msgspec.field(default_factory=time.time)
    route: RouteFacts = NO_ROUTE
    attempt: int = 1
    for_this_node: bool = True
    problem: Problem | None = None

    @classmethod
    def of(cls, index: int, row: Mapping[str, Any], context: Any) -> "Received":
        """Return request `index` of a TorchServe batch; of its headers only the id is read."""
        headers = lower_headers(context.get_all_request_header(index))
        own_id = context.get_request_id(index)
        request_id = request_id_of(headers, own_id)
        return cls(
            index=index, row=row, headers=headers, torchserve_id=own_id, request_id=request_id
        )


class Admitted(Struct, frozen=True, kw_only=True, gc=False):
    """A valid request with what `decode` made of it: arrays of `rows` entries.

    Where each request is run alone, `rows` is 1.
    """

    request: Request
    inputs: Arrays
    rows: int
    stages: Mapping[str, float]


class Predicted(Struct, frozen=True, kw_only=True, gc=False):
    """A request with the model's outputs for it; `predict_ms` is its part of the run, by rows."""

    request: Request
    outputs: Arrays
    predict_ms: float
    stages: Mapping[str, float]


class Response(Struct, frozen=True, kw_only=True, gc=False):
    """What a request gets: a prediction, a problem or, if it was a probe that went well, neither.

    `request` is None when it could not be read; `error` is the exception behind a problem, `cause`
    why the problem is not this version's doing.
    """

    request: Request | None = None
    answer: Answer | None = None
    problem: Problem | None = None
    cause: Cause | None = None
    error: str | None = None
    predict_ms: float | None = None
    stages: Mapping[str, float] = {}


class Exchange(Struct, frozen=True, kw_only=True, gc=False):
    """A request and its response: all that is logged, counted and sent of it.

    `time` is when the response was ready (UTC ISO 8601), `latency_ms` runs until then from
    when the request was complete at the gateway.
    """

    received: Received
    response: Response
    time: str
    latency_ms: float

    @property
    def request_id(self) -> str:
        """The id in the body, else the one it came with."""
        request = self.response.request
        return self.received.request_id if request is None else request.request_id

    def unlogged(self, problem: Problem) -> "Exchange":
        """Return this exchange with the log's problem for its response, under the request's id."""
        problem = replace(problem, request_id=self.request_id)
        return replace(self, response=replace(self.response, problem=problem, cause="log"))

    def body(self, version: str) -> PredictResponse | Health | Problem:
        """Return the body of the answer, from the version called `version` over HTTP."""
        route, answer = self.received.route, self.response.answer
        if self.response.problem is not None:
            return self.response.problem
        if answer is None:
            return Health(model_version=version)
        return PredictResponse(
            prediction=answer.prediction,
            confidence=answer.confidence,
            latency_ms=self.latency_ms,
            model_version=version,
            request_id=self.request_id,
            scores=answer.scores,
            probabilities=answer.probabilities,
            interval=answer.interval,
            experiment=ExperimentArm(name=route.experiment, arm=route.arm)
            if route.experiment and route.arm
            else None,
        )

    def record(self, archive: LoadedArchive, archive_sha256: str | None) -> PredictionRecord:
        """Return the line for the prediction log."""
        received, response, route = self.received, self.response, self.received.route
        request, problem = response.request, response.problem
        answer = response.answer if problem is None else None
        queue_s = None if route.arrived_s is None else received.received_s - route.arrived_s
        return PredictionRecord(
            time=self.time,
            request_id=self.request_id,
            attempt=received.attempt,
            role="answer",
            status=problem.status if problem else 200,
            user_id=request.user_id if request else None,
            model=archive.name,
            version=archive.version,
            intended_version=route.version,
            archive_sha256=archive_sha256,
            release=route.release,
            experiment=route.experiment,
            arm=route.arm,
            propensity=route.propensity,
            features=request.features if request else _NULL,
            prediction=answer.prediction if answer else None,
            scores=answer.scores if answer else None,
            queue_ms=None if queue_s is None else _ms(queue_s),
            predict_ms=None if response.predict_ms is None else round(response.predict_ms, 4),
            latency_ms=self.latency_ms,
            stages={stage: round(ms, 4) for stage, ms in response.stages.items()},
            error=response.error or (problem.detail if problem else None),
            extra=answer.extra if answer else None,
            response=UNSET if archive.response is None else type_of(archive.response),
            parameters=_logged_parameters(request),
            **_declared_parts(archive, answer),
        )


def _declared_parts(archive: LoadedArchive, answer: Answer | None) -> dict[str, Any]:
    """Return what a record has of an answer of a declared type only."""
    if archive.response is None or answer is None:
        return {}
    parts = {
        "entries": answer.entries,
        "confidence": answer.confidence,
        "probabilities": answer.probabilities,
        "interval": answer.interval,
    }
    return {name: value for name, value in parts.items() if value is not None}


def _logged_parameters(request: Request | None) -> dict[str, Any] | UnsetType:
    """Return the parameters as JSON holds them, nothing where none are declared or readable."""
    if request is None or not request.parameters.__struct_fields__:
        return UNSET
    logged: dict[str, Any] = msgspec.to_builtins(request.parameters)
    return logged


def receive(index: int, row: Mapping[str, Any], context: Any) -> Received:
    """Return request `index` of a TorchServe batch.

    Without a gateway the headers are the client's own: malformed ones refuse this request alone.
    """
    received = Received.of(index, row, context)
    route, attempt, problem = NO_ROUTE, 1, None
    try:
        route = parse_route_header(received.headers.get(ROUTE_HEADER))
        attempt = int(received.headers.get(ATTEMPT_HEADER) or 1)
    except ValueError as error:
        detail = f"{ROUTE_HEADER} or {ATTEMPT_HEADER} is malformed ({error}); leave both out."
        problem = Rejected(detail, status=400).problem(received.request_id)
    return replace(received, route=route, attempt=attempt, problem=problem)


def receive_in_workflow(
    index: int, row: Mapping[str, Any], context: Any, archive: LoadedArchive
) -> Received:
    """Return request `index` of a node: the body's `_marloft` replaces the gateway's header.

    The headers are the client's own. A workflow without an assign node leaves `_marloft` out: then
    the request is for this node, as without a gateway.
    """
    received = Received.of(index, row, context)
    try:
        facts = _NODE_BODY.decode(row["body"]).marloft
    except msgspec.ValidationError as error:
        refusal = Rejected(f"The body is not one that an assign node sends: {error}.")
        return replace(received, problem=refusal.problem(received.request_id))
    except (KeyError, TypeError, UnicodeDecodeError, RecursionError, msgspec.DecodeError):
        # Without a readable body; the intake refuses it with the reason.
        return received
    if facts is None:
        return received
    return replace(
        received,
        request_id=facts.request_id,
        route=facts,
        for_this_node=(facts.node, facts.version) == (archive.node, archive.version),
        problem=facts.refusal and refused(facts.refusal).problem(facts.request_id),
    )


def finish(batch: Sequence[Received], responses: Sequence[Response]) -> list[Exchange]:
    """Pair requests and responses and take each latency, of probes and golden checks too."""
    now_s = time.time()
    now = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")
    return [
        Exchange(
            received=received,
            response=response,
            time=now,
            latency_ms=_ms(now_s - (received.route.arrived_s or received.received_s)),
        )
        for received, response in zip(batch, responses, strict=True)
    ]


def answer_problem(problem: Problem, cause: Cause | None, index: int, context: Any) -> bytes:
    """Set status and headers of request `index` for a problem; return its body (RFC 9457).

    A 5xx is marked, so that the gateway does not try again; one with a cause will pass.
    """
    context.set_response_status(code=problem.status, phrase=problem.title, idx=index)
    context.set_response_content_type(index, PROBLEM_JSON)
    if problem.status >= 500:
        context.set_response_header(index, DO_NOT_RETRY_HEADER, "1")
    if cause is not None:
        context.set_response_header(index, CAUSE_HEADER, cause)
        context.set_response_header(index, "retry-after", "1")
    return msgspec.json.encode(problem)


def lower_headers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Lower the names; TorchServe keeps the body's own content type under the parameter `body`.

    It does so for each parameter of a query: what is no text is no header, whatever its name.
    """
    headers: dict[str, Any] = {
        name.lower(): value for name, value in given.items() if isinstance(value, str)
    }
    body = given.get("body")
    if "content-type" not in headers and isinstance(body, Mapping):
        headers["content-type"] = body.get("content-type")
    return headers


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1e3, 3)
