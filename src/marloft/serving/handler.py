"""The base class of handlers: the user writes `load`, `decode`, `predict`, `encode`.

One batch runs in five stages: admit each request, run the model once on all rows, cut the
outputs apart, log one record per request, answer. A fault of one request is answered to that
request alone.
"""

import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from marloft.contract.predict_api import (
    NO_ROUTE,
    ExperimentArm,
    Health,
    NodeEnvelope,
    PredictResponse,
    Problem,
    RequestEnvelope,
    public_version,
)
from marloft.contract.release import read_release, releases_folder
from marloft.errors import MarloftError
from marloft.runtimes import Arrays
from marloft.serving.exchange import (
    Exchange,
    answer_problem,
    open_exchange,
    open_node_exchange,
)
from marloft.serving.intake import Intake, Rejected, Request
from marloft.serving.loaded_archive import LoadedArchive
from marloft.serving.log import PredictionLog, var_folder
from marloft.serving.metrics import WorkerMetrics
from marloft.serving.prediction import Prediction, encode_prediction
from marloft.serving.recent_answers import RecentAnswers
from marloft.serving.rows import check_inputs, check_outputs, concatenate, cut

_logger = logging.getLogger(__name__)
_UNPROCESSED = "The model failed on this request; it is logged with its cause."
_JSON = {"content-type": "application/json"}
# A worker that warms up for longer keeps a roll-out waiting; the first requests are the largest.
_WARM_UP_S = 5.0


class Handler:
    """Derive from this in the archive's handler file; TorchServe finds the class by itself."""

    def load(self, archive: LoadedArchive) -> None:
        """Read what the archive holds; called once when the worker starts."""
        self.model = archive.load_model()

    def decode(self, request: Request) -> Arrays:
        """Turn one request into model inputs, each array with one entry per row.

        Raise `Rejected` to refuse this request with a 422 and a place.
        """
        raise NotImplementedError

    def predict(self, inputs: Arrays) -> Arrays:
        """Run the model on the rows of all requests of a batch at once."""
        return self.model.run(inputs)

    def encode(self, request: Request, outputs: Arrays) -> Prediction:
        """Turn one request's part of the outputs into its answer."""
        raise NotImplementedError

    # What follows is TorchServe's side: it calls `initialize` once and `handle` per batch.

    def initialize(self, context: Any) -> None:
        """Load the archive and answer its golden requests, so that a broken one never starts."""
        folder = Path(context.system_properties["model_dir"])
        self._var = var_folder()
        self._archive = LoadedArchive(
            folder, context.model_name, context.manifest or {}, releases_folder(self._var)
        )
        envelope = RequestEnvelope if self._archive.node is None else NodeEnvelope
        self._intake = Intake(
            self._archive.schema, self._archive.version, envelope, self._archive.accepts
        )
        self._recent = None if self._archive.node is None else RecentAnswers()
        self._metrics = WorkerMetrics(self._archive.name, self._archive.version)
        self._log = PredictionLog(self._var, self._metrics.log)
        self._encoder = msgspec.json.Encoder()
        self.load(self._archive)
        self._golden = [msgspec.json.encode(each.request) for each in self._archive.golden()]
        self._warm_up()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer one batch: one entry per request, in order, whatever happens.

        As a node of a workflow it answers `b""` to a request that is another node's, and a request
        that TorchServe repeats as before.
        """
        opened = [self._open(i, row, context) for i, row in enumerate(data)]
        batch = opened if self._recent is None else self._recent.new(opened)
        for exchange in batch:
            self._admit(exchange)
        self._run([exchange for exchange in batch if exchange.inputs is not None])
        for exchange in batch:
            self._compose(exchange)
        self._write_log(batch)
        self._metrics.answered(batch, context.metrics)
        answers = [self._answer(exchange, context) for exchange in batch]
        if self._recent is None:
            return answers
        by_id = {e.asked_id: answer for e, answer in zip(batch, answers, strict=True)}
        return self._recent.answers(opened, by_id)

    def _open(self, index: int, row: Mapping[str, Any], context: Any) -> Exchange:
        if self._archive.node is None:
            return open_exchange(index, row, context)
        return open_node_exchange(index, row, context, self._archive)

    def _admit(self, exchange: Exchange) -> None:
        if exchange.problem is not None:
            return
        started = time.perf_counter()
        try:
            if exchange.route.probe:
                _refuse_late(exchange)
                self._rehearse(self._golden[:1])
                return
            exchange.request = self._intake.read(
                exchange.row, exchange.headers, exchange.route, exchange.request_id
            )
            exchange.request_id = exchange.request.request_id
            _refuse_late(exchange)
            inputs = self.decode(exchange.request)
            exchange.rows = check_inputs(inputs)
            exchange.inputs = inputs
        except Rejected as refusal:
            exchange.problem = refusal.problem(exchange.request_id)
        except BaseException as error:  # noqa: BLE001 - user code: sys.exit fails one request too
            self._fail(exchange, error)
        exchange.admit_ms = (time.perf_counter() - started) * 1e3

    def _run(self, ready: list[Exchange]) -> None:
        """Predict all rows together; when that fails, one by one to find whose fault it is."""
        try:
            self._predict_together(ready)
        except BaseException as error:  # noqa: BLE001 - user code, as above
            if len(ready) == 1:
                self._fail(ready[0], error)
                return
            for exchange in ready:
                self._run([exchange])

    def _predict_together(self, ready: list[Exchange]) -> None:
        if not ready:
            return
        inputs = concatenate([exchange.inputs or {} for exchange in ready])
        counts = [exchange.rows for exchange in ready]
        started = time.perf_counter()
        outputs = self.predict(inputs)
        spent_ms = (time.perf_counter() - started) * 1e3
        check_outputs(outputs, sum(counts))
        for exchange, own in zip(ready, cut(outputs, counts), strict=True):
            exchange.outputs = own
            exchange.run_ms = spent_ms
            exchange.predict_ms = spent_ms * exchange.rows / sum(counts)

    def _compose(self, exchange: Exchange) -> None:
        if exchange.request is None or exchange.outputs is None:
            return
        started = time.perf_counter()
        try:
            exchange.prediction = encode_prediction(self.encode(exchange.request, exchange.outputs))
        except BaseException as error:  # noqa: BLE001 - user code, as above
            self._fail(exchange, error)
        exchange.compose_ms = (time.perf_counter() - started) * 1e3

    def _fail(self, exchange: Exchange, error: BaseException) -> None:
        _logger.error("Request %s failed.", exchange.request_id, exc_info=error)
        exchange.error = f"{type(error).__name__}: {error}"
        exchange.problem = Problem(
            title="Prediction failed",
            status=500,
            detail=_UNPROCESSED,
            request_id=exchange.request_id,
        )

    def _write_log(self, batch: list[Exchange]) -> None:
        """Log before answering; without a record no answer, unless the policy says `serve`."""
        records = [
            e.record(self._archive, _archive_sha256(self._var, e.route.release, self._archive))
            for e in batch
            if e.route.is_traffic
        ]
        unlogged = self._log.write(records)
        if unlogged is None:
            return
        for exchange in batch:
            exchange.problem = msgspec.structs.replace(unlogged, request_id=exchange.request_id)

    def _answer(self, exchange: Exchange, context: Any) -> bytes:
        # TorchServe drops the status and headers of a workflow's nodes.
        in_workflow = self._archive.node is not None
        version = public_version(self._archive.version)
        if exchange.problem is not None:
            if in_workflow:
                return self._encoder.encode(exchange.problem)
            return answer_problem(exchange.problem, exchange.index, context)
        if not in_workflow:
            context.set_response_content_type(exchange.index, "application/json")
        if exchange.prediction is None:
            return self._encoder.encode(Health(model_version=version))
        answer = exchange.prediction
        route = exchange.route
        return self._encoder.encode(
            PredictResponse(
                prediction=answer.prediction,
                confidence=answer.confidence,
                latency_ms=exchange.latency_ms,
                model_version=version,
                request_id=exchange.request_id,
                scores=answer.scores,
                experiment=ExperimentArm(name=route.experiment, arm=route.arm)
                if route.experiment and route.arm
                else None,
            )
        )

    def _warm_up(self) -> None:
        """Answer every golden request before the first client's, then all of them in one batch.

        The largest comes first: it makes a runtime get the memory that later requests use again.
        Whether the answers are the golden ones is for `marloft verify` and the supervisor to say.
        """
        started = time.monotonic()
        batches = [[body] for body in sorted(self._golden, key=len, reverse=True)]
        for done, batch in enumerate([*batches, self._golden]):
            if time.monotonic() - started > _WARM_UP_S:
                _logger.warning("Warm-up stops after %s of %s runs.", done, len(batches) + 1)
                return
            self._rehearse(batch)

    def _rehearse(self, bodies: list[bytes]) -> None:
        """Run requests through all stages in one batch; raises what the stages raise."""
        if not bodies:
            return
        requests = [self._intake.read({"body": b}, _JSON, NO_ROUTE, "probe") for b in bodies]
        parts = [self.decode(request) for request in requests]
        counts = [check_inputs(part) for part in parts]
        outputs = self.predict(concatenate(parts))
        check_outputs(outputs, sum(counts))
        for request, own in zip(requests, cut(outputs, counts), strict=True):
            encode_prediction(self.encode(request, own))


def _refuse_late(exchange: Exchange) -> None:
    """Raise Rejected (504) when the gateway has given up on the request: nobody would hear it."""
    if exchange.route.expired(time.time()):
        raise Rejected(
            f"The deadline passed before prediction: the gateway waited {exchange.route.limit_s} s "
            "for this request.",
            status=504,
        )


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
