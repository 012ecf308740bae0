"""Runs batches: admit each request, predict by rows or by requests, compose, log, answer.

A fault of one request is answered to that request alone. The runner is an object of its own, so
that no name in a user's handler can collide with one of its names.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec
from msgspec.structs import replace

from marloft.contract.answers import AnyAnswer
from marloft.contract.encode_answer import Answer, encode_answer
from marloft.contract.predict_api import (
    NO_ROUTE,
    Cause,
    NodeEnvelope,
    Problem,
    RequestEnvelope,
    RouteFacts,
    public_version,
)
from marloft.contract.release import read_release, releases_folder
from marloft.errors import MarloftError
from marloft.runtimes import Arrays
from marloft.serving.exchange import (
    Admitted,
    Exchange,
    Predicted,
    Received,
    Response,
    answer_problem,
    finish,
    receive,
    receive_in_workflow,
)
from marloft.serving.intake import Intake, Request
from marloft.serving.loaded_archive import LoadedArchive
from marloft.serving.log import PredictionLog, var_folder
from marloft.serving.metrics import WorkerMetrics
from marloft.serving.recent_answers import RecentAnswers
from marloft.serving.refusals import Rejected
from marloft.serving.rows import BatchBy, batching, concatenate

_logger = logging.getLogger(__name__)
_UNPROCESSED = "The model failed on this request; it is logged with its cause."
_JSON = {"content-type": "application/json"}
# A worker that warms up for longer keeps a roll-out waiting; the first requests are the largest.
_WARM_UP_S = 5.0


class _Late(Rejected):
    """What nobody waits for any more, through no fault of the model."""


class _UserMethods(Protocol):
    """What a handler's author writes (`marloft.serving.Handler` explains each)."""

    batch_by: ClassVar[BatchBy]

    def load(self, archive: LoadedArchive) -> None: ...
    def decode(self, request: Request) -> Arrays: ...
    def predict(self, inputs: Arrays) -> Arrays: ...
    def encode(self, request: Request, outputs: Arrays) -> AnyAnswer: ...


class BatchRunner:
    """Runs the batches of one worker through the methods of the user's handler."""

    def __init__(self, handler: _UserMethods, context: Any) -> None:
        """Read the unpacked archive and open the log; `context` is TorchServe's."""
        self._handler = handler
        # Of the class: what a handler calls its own attributes is its own matter.
        self._batching = batching(type(handler).batch_by)
        self._var = var_folder()
        self._archive = LoadedArchive(
            Path(context.system_properties["model_dir"]),
            context.model_name,
            context.manifest or {},
            releases_folder(self._var),
        )
        envelope = RequestEnvelope if self._archive.node is None else NodeEnvelope
        self._intake = Intake(
            self._archive.schema, self._archive.version, envelope, self._archive.accepts
        )
        self._recent = None if self._archive.node is None else RecentAnswers()
        self._metrics = WorkerMetrics(self._archive.name, self._archive.version)
        self._log = PredictionLog(self._var, self._metrics.log)
        self._encoder = msgspec.json.Encoder()

    def start(self) -> None:
        """Load the handler and answer the golden requests, so that a broken one never starts."""
        self._handler.load(self._archive)
        self._golden = [msgspec.json.encode(each.request) for each in self._archive.golden()]
        self._warm_up()

    def run(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer one batch: one entry per request, in order, whatever happens.

        As a node of a workflow it answers `b""` to a request that is another node's, and a request
        that TorchServe repeats as before.
        """
        received = [self._receive(i, row, context) for i, row in enumerate(data)]
        batch = received if self._recent is None else self._recent.new(received)
        predicted = self._predict([self._admit(each) for each in batch])
        exchanges = self._write_log(finish(batch, [self._compose(each) for each in predicted]))
        self._metrics.answered(exchanges, context.metrics)
        answers = [self._answer(exchange, context) for exchange in exchanges]
        if self._recent is None:
            return answers
        by_id = {each.torchserve_id: a for each, a in zip(batch, answers, strict=True)}
        return self._recent.answers(received, by_id)

    def _receive(self, index: int, row: Mapping[str, Any], context: Any) -> Received:
        if self._archive.node is None:
            return receive(index, row, context)
        return receive_in_workflow(index, row, context, self._archive)

    def _admit(self, received: Received) -> Admitted | Response:
        if received.problem is not None:
            return Response(problem=received.problem)
        started, request, request_id = time.perf_counter(), None, received.request_id
        try:
            if received.route.probe:
                _refuse_late(received.route)
                self._dry_run(self._golden[:1])
                return Response(problem=self._log.probe())
            request = self._intake.read(received.row, received.headers, received.route, request_id)
            request_id = request.request_id
            _refuse_late(received.route)
            inputs = self._handler.decode(request)
            rows, stages = self._batching.check(inputs), {"admit": _ms_since(started)}
            return Admitted(request=request, inputs=inputs, rows=rows, stages=stages)
        except Rejected as refusal:
            cause: Cause | None = "late" if isinstance(refusal, _Late) else None
            problem = refusal.problem(request_id)
            response = Response(request=request, problem=problem, cause=cause)
        except BaseException as raised:  # noqa: BLE001 - user code: sys.exit fails one request too
            response = _failed(raised, request_id, request)
        return replace(response, stages={"admit": _ms_since(started)})

    def _predict(self, batch: list[Admitted | Response]) -> list[Predicted | Response]:
        """Run the model on what was admitted; the others have their response already."""
        admitted = [each for each in batch if isinstance(each, Admitted)]
        runs = self._batching.runs(admitted)
        predicted = iter([result for run in runs for result in self._run(run)])
        return [next(predicted) if isinstance(each, Admitted) else each for each in batch]

    def _run(self, batch: Sequence[Admitted]) -> list[Predicted | Response]:
        """Predict one run together; when that fails, one by one to find whose fault it is."""
        try:
            return self._run_together(batch)
        except BaseException as raised:  # noqa: BLE001 - user code, as above
            if len(batch) > 1:
                return [result for each in batch for result in self._run([each])]
            response = _failed(raised, batch[0].request.request_id, batch[0].request)
            return [replace(response, stages=batch[0].stages)]

    def _run_together(self, batch: Sequence[Admitted]) -> list[Predicted | Response]:
        inputs = concatenate([each.inputs for each in batch])
        counts = [each.rows for each in batch]
        started = time.perf_counter()
        outputs = self._handler.predict(inputs)
        run_ms, rows = _ms_since(started), sum(counts)
        parts = self._batching.split(outputs, counts)
        return [
            Predicted(
                request=each.request,
                outputs=own,
                predict_ms=run_ms * each.rows / rows,
                stages={**each.stages, "predict": run_ms},
            )
            for each, own in zip(batch, parts, strict=True)
        ]

    def _compose(self, predicted: Predicted | Response) -> Response:
        if isinstance(predicted, Response):
            return predicted
        request, started = predicted.request, time.perf_counter()
        try:
            answer = self._encode(request, predicted.outputs)
            response = Response(request=request, answer=answer)
        except BaseException as raised:  # noqa: BLE001 - user code, as above
            response = _failed(raised, request.request_id, request)
        stages = {**predicted.stages, "compose": _ms_since(started)}
        return replace(response, stages=stages, predict_ms=predicted.predict_ms)

    def _write_log(self, batch: list[Exchange]) -> list[Exchange]:
        """Log before answering; return what may be answered."""
        records = [
            each.record(
                self._archive,
                _archive_sha256(self._var, each.received.route.release, self._archive),
            )
            for each in batch
            if each.received.route.is_traffic
        ]
        unlogged = self._log.write(records)
        return batch if unlogged is None else [each.unlogged(unlogged) for each in batch]

    def _answer(self, exchange: Exchange, context: Any) -> bytes:
        response, index = exchange.response, exchange.received.index
        # TorchServe drops the status and headers of a workflow's nodes.
        if self._archive.node is None:
            if response.problem is not None:
                return answer_problem(response.problem, response.cause, index, context)
            context.set_response_content_type(index, "application/json")
        return self._encoder.encode(exchange.body(public_version(self._archive.version)))

    def _warm_up(self) -> None:
        """Answer every golden request before the first client's, then all of them in one batch.

        The largest comes first: with it a runtime allocates the memory that later ones reuse.
        Whether the answers are the golden ones is checked by `marloft verify` and the supervisor.
        """
        started = time.monotonic()
        batches = [[body] for body in sorted(self._golden, key=len, reverse=True)]
        for done, batch in enumerate([*batches, self._golden]):
            if time.monotonic() - started > _WARM_UP_S:
                _logger.warning("Warm-up stops after %s of %s runs.", done, len(batches) + 1)
                return
            self._dry_run(batch)

    def _dry_run(self, bodies: list[bytes]) -> None:
        """Run requests through all stages in one batch; raises what the stages raise."""
        if not bodies:
            return
        requests = [self._intake.read({"body": b}, _JSON, NO_ROUTE, "probe") for b in bodies]
        parts = [self._handler.decode(request) for request in requests]
        counts = [self._batching.check(part) for part in parts]
        for run in self._batching.runs(list(zip(requests, parts, counts, strict=True))):
            outputs = self._handler.predict(concatenate([part for _, part, _ in run]))
            split = self._batching.split(outputs, [count for _, _, count in run])
            for (request, _, _), own in zip(run, split, strict=True):
                self._encode(request, own)

    def _encode(self, request: Request, outputs: Arrays) -> Answer:
        returned = self._handler.encode(request, outputs)
        return encode_answer(returned, self._archive.response, len(request.rows))


def _refuse_late(route: RouteFacts) -> None:
    """Raise `_Late` (504) when the gateway has given up on the request and nobody waits for it."""
    if route.expired(time.time()):
        raise _Late(
            f"The deadline passed before prediction: the gateway waited {route.limit_s} s "
            "for this request.",
            status=504,
        )


def _failed(raised: BaseException, request_id: str, request: Request | None) -> Response:
    """Log what the user's code raised; the record has it too, but not the client."""
    _logger.error("Request %s failed.", request_id, exc_info=raised)
    problem = Problem(
        title="Prediction failed", status=500, detail=_UNPROCESSED, request_id=request_id
    )
    return Response(request=request, problem=problem, error=f"{type(raised).__name__}: {raised}")


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3


@lru_cache(maxsize=64)
def _archive_sha256(var: Path, release: int | None, archive: LoadedArchive) -> str | None:
    """Return the archive's hash as the release names it; None for a request without a gateway."""
    if release is None:
        return None
    try:
        model = read_release(releases_folder(var), release).models.get(archive.name)
    except (MarloftError, OSError):
        _logger.exception("Release %s cannot be read.", release)
        return None
    pinned = model.versions.get(archive.version) if model else None
    return pinned.sha256 if pinned else None
