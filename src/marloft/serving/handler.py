"""The base class of handlers: the user writes `load`, `decode`, `predict`, `encode`.

One batch runs in five stages: admit each request, run the model once on all rows, cut the
outputs apart, log one record per request, answer. A fault of one request is answered to that
request alone.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from marloft.contract.predict_api import (
    ExperimentArm,
    Health,
    NodeEnvelope,
    PredictResponse,
    Problem,
    RequestEnvelope,
    public_version,
)
from marloft.contract.release import read_release
from marloft.errors import MarloftError
from marloft.runtimes import Arrays
from marloft.serving.exchange import (
    Exchange,
    answer_problem,
    open_exchange,
    open_node_exchange,
)
from marloft.serving.intake import Intake, Rejected, Request
from marloft.serving.loaded import LoadedArchive
from marloft.serving.log import RecordLog, var_folder
from marloft.serving.metrics import WorkerMetrics
from marloft.serving.recent import RecentAnswers

_logger = logging.getLogger(__name__)
_UNPROCESSED = "The model failed on this request; it is logged with its cause."


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What `encode` returns for one request.

    `extra` goes to the prediction log only, for example counts of unknown ids.
    """

    prediction: Any
    confidence: float
    scores: list[float] | None = None
    extra: dict[str, Any] | None = None


def rank(item_ids: Sequence[Any], scores: NDArray[np.float32]) -> Prediction:
    """Order candidates by descending score; equal scores keep the request's order.

    Args:
        item_ids: n ids in request order.
        scores: float32[n] probabilities in request order.
    """
    order = np.argsort(-scores, kind="stable")
    rounded = np.round(scores.astype(np.float64), 6).tolist()
    return Prediction(
        prediction=[item_ids[i] for i in order],
        confidence=rounded[order[0]],
        scores=rounded,
    )


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
        """Load the archive and answer a golden request, so that a broken one never starts."""
        folder = Path(context.system_properties["model_dir"])
        self._archive = LoadedArchive(folder, context.model_name, context.manifest or {})
        envelope = RequestEnvelope if self._archive.node is None else NodeEnvelope
        self._intake = Intake(self._archive.schema, self._archive.version, envelope)
        self._var = var_folder()
        self._recent = None if self._archive.node is None else RecentAnswers()
        self._log = RecordLog(self._var / "log" / "predictions")
        self._metrics = WorkerMetrics(self._archive.name, self._archive.version)
        self._encoder = msgspec.json.Encoder()
        self.load(self._archive)
        golden = self._archive.golden()
        self._warm_up = msgspec.json.encode(golden[0].request) if golden else None
        self._check_health()

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
        try:
            if exchange.route.probe:
                self._check_health()
                return
            exchange.request = self._intake.read(
                exchange.row, exchange.headers, exchange.route, exchange.request_id
            )
            exchange.request_id = exchange.request.request_id
            exchange.inputs = self.decode(exchange.request)
            if not exchange.inputs:
                raise ValueError("decode returned no arrays.")
        except Rejected as refusal:
            exchange.problem = refusal.problem(exchange.request_id)
        except Exception as error:  # noqa: BLE001 - user code: one request fails, never the batch
            self._fail(exchange, error)

    def _run(self, ready: list[Exchange]) -> None:
        """Predict all rows together; when that fails, one by one to find whose fault it is."""
        try:
            self._predict_together(ready)
        except Exception as error:  # noqa: BLE001 - user code, as above
            if len(ready) == 1:
                self._fail(ready[0], error)
                return
            for exchange in ready:
                self._run([exchange])

    def _predict_together(self, ready: list[Exchange]) -> None:
        if not ready:
            return
        parts = [exchange.inputs or {} for exchange in ready]
        started = time.perf_counter()
        outputs = self.predict(_concatenate(parts) if len(parts) > 1 else parts[0])
        spent_ms = (time.perf_counter() - started) * 1e3
        counts = [len(next(iter(part.values()))) for part in parts]
        _check_rows(outputs, sum(counts))
        first = 0
        for exchange, count in zip(ready, counts, strict=True):
            exchange.outputs = {k: v[first : first + count] for k, v in outputs.items()}
            exchange.predict_ms = spent_ms * count / sum(counts)
            first += count

    def _compose(self, exchange: Exchange) -> None:
        if exchange.request is None or exchange.outputs is None:
            return
        try:
            prediction = self.encode(exchange.request, exchange.outputs)
            if not isinstance(prediction, Prediction):
                raise TypeError(f"encode returned {type(prediction).__name__}, not a Prediction.")
            exchange.prediction = prediction
        except Exception as error:  # noqa: BLE001 - user code, as above
            self._fail(exchange, error)

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        _logger.error("Request %s failed.", exchange.request_id, exc_info=error)
        exchange.error = f"{type(error).__name__}: {error}"
        exchange.problem = Problem(
            title="Prediction failed",
            status=500,
            detail=_UNPROCESSED,
            request_id=exchange.request_id,
        )

    def _write_log(self, batch: list[Exchange]) -> None:
        """Log before answering; an answer that could not be logged is not given."""
        records = [
            e.record(self._archive, _archive_sha256(self._var, e.route.release, self._archive))
            for e in batch
            if e.route.is_traffic
        ]
        try:
            self._metrics.log_written(self._log.append(records))
        except OSError as error:
            self._metrics.log_failed()
            _logger.exception("The prediction log cannot be written.")
            for exchange in batch:
                exchange.problem = Problem(
                    title="Prediction log unavailable",
                    status=503,
                    detail=f"The prediction log cannot be written: {error.strerror}.",
                    request_id=exchange.request_id,
                )

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

    def _check_health(self) -> None:
        """Run the first golden request through all stages; raises what they raise."""
        if self._warm_up is None:
            return
        headers = {"content-type": "application/json"}
        exchange = Exchange(
            index=0, row={"body": self._warm_up}, headers=headers, request_id="probe"
        )
        request = self._intake.read(exchange.row, headers, exchange.route, "probe")
        inputs = self.decode(request)
        outputs = self.predict(inputs)
        _check_rows(outputs, len(request.rows))
        self.encode(request, outputs)


def _concatenate(parts: list[Arrays]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _check_rows(outputs: Mapping[str, NDArray[Any]], rows: int) -> None:
    for name, output in outputs.items():
        if len(output) != rows:
            raise ValueError(f"predict returned {len(output)} rows of {name!r} for {rows} inputs.")


@lru_cache(maxsize=64)
def _archive_sha256(var: Path, release: int | None, archive: LoadedArchive) -> str | None:
    """Return the archive's hash as the release names it; None for a request without a gateway."""
    if release is None:
        return None
    try:
        model = read_release(var / "releases", release).models.get(archive.name)
    except MarloftError:
        _logger.exception("Release %s cannot be read.", release)
        return None
    pinned = model.versions.get(archive.version) if model else None
    return pinned.sha256 if pinned else None
