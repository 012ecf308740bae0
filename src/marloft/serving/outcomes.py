"""The receiver of outcomes: each is in the log before its 202 leaves."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from marloft.contract.outcome_api import Outcome, OutcomeAccepted
from marloft.contract.predict_api import Health, public_version
from marloft.contract.records import OutcomeRecord
from marloft.serving.exchange import Exchange, answer_problem, open_exchange
from marloft.serving.intake import Rejected, decode_json, json_body
from marloft.serving.log import OutcomeLog, var_folder
from marloft.serving.metrics import LogMetrics


class OutcomeReceiver:
    """A TorchServe handler without a model; the archive's handler file derives from it.

    One outcome is one request. The same outcome may come twice (a client that heard nothing sends
    again): both are logged, and the readers of the log count the first.
    """

    def initialize(self, context: Any) -> None:
        """Open a segment of the outcome log."""
        self._version = str(context.manifest["model"]["modelVersion"])
        self.registry = CollectorRegistry()
        self._log = OutcomeLog(var_folder(), LogMetrics(self.registry, "outcomes", self._version))
        self._decoder = msgspec.json.Decoder(Outcome)
        self._fields = list(Outcome.__struct_fields__)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer one batch: one entry per request, in order; a bad one is refused alone."""
        batch = [open_exchange(i, row, context) for i, row in enumerate(data)]
        outcomes = [self._admit(exchange) for exchange in batch]
        self._write_log(batch, [outcome for outcome in outcomes if outcome is not None])
        return [self._answer(exchange, context) for exchange in batch]

    def _admit(self, exchange: Exchange) -> Outcome | None:
        """Return the outcome, None for a probe or when the exchange has its problem."""
        if exchange.problem is not None or exchange.route.probe:
            return None
        try:
            body = json_body(exchange.row, exchange.headers)
            return decode_json(self._decoder, body, self._fields)
        except Rejected as refusal:
            exchange.problem = refusal.problem(exchange.request_id)
            return None

    def _write_log(self, batch: list[Exchange], outcomes: list[Outcome]) -> None:
        """Log before answering; an outcome that could not be logged is not accepted."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        unlogged = self._log.write([_record(outcome, now) for outcome in outcomes])
        if unlogged is None:
            return
        for exchange in batch:
            exchange.problem = exchange.problem or msgspec.structs.replace(
                unlogged, request_id=exchange.request_id
            )

    def _answer(self, exchange: Exchange, context: Any) -> bytes:
        if exchange.problem is not None:
            return answer_problem(exchange.problem, exchange.index, context)
        context.set_response_content_type(exchange.index, "application/json")
        if exchange.route.probe:
            version = public_version(self._version)
            return msgspec.json.encode(Health(model_version=version))
        context.set_response_status(code=202, phrase="Accepted", idx=exchange.index)
        return msgspec.json.encode(OutcomeAccepted())


def _record(outcome: Outcome, time: str) -> OutcomeRecord:
    return OutcomeRecord(
        time=time,
        request_id=outcome.request_id,
        item_id=outcome.item_id,
        event=outcome.event,
        value=outcome.value,
    )
