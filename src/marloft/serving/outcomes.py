"""The receiver of outcomes: each is in the log before its 202 leaves."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from marloft.contract.outcome_api import Outcome, OutcomeAccepted
from marloft.contract.predict_api import Cause, Health, Problem, public_version
from marloft.contract.records import OutcomeRecord, outcome_schema
from marloft.serving.exchange import Received, answer_problem, receive
from marloft.serving.intake import json_body
from marloft.serving.log import OutcomeLog, var_folder
from marloft.serving.metrics import LogMetrics
from marloft.serving.refusals import Rejected, decode_json


class OutcomeReceiver:
    """A TorchServe handler without a model; the archive's handler file derives from it.

    One outcome is one request. The same outcome may come twice (a client that got no answer sends
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
        batch = [receive(i, row, context) for i, row in enumerate(data)]
        admitted = [self._admit(received) for received in batch]
        unlogged = self._write_log([each for each in admitted if isinstance(each, Outcome)])
        return [
            self._refuse(received, each, None, context)
            if isinstance(each, Problem)
            else self._answer(received, unlogged, context)
            for received, each in zip(batch, admitted, strict=True)
        ]

    def _admit(self, received: Received) -> Outcome | Problem | None:
        """Return the outcome, the problem with it, or None for a probe."""
        if received.problem is not None:
            return received.problem
        if received.route.probe:
            return self._log.probe()
        try:
            body = json_body(received.row, received.headers)
            return decode_json(self._decoder, body, self._fields)
        except Rejected as refusal:
            return refusal.problem(received.request_id)

    def _write_log(self, outcomes: list[Outcome]) -> Problem | None:
        """Log before answering; return what is answered to outcomes that could not be logged."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return self._log.write([_record(outcome, now) for outcome in outcomes])

    def _refuse(
        self, received: Received, problem: Problem, cause: Cause | None, context: Any
    ) -> bytes:
        problem = replace(problem, request_id=received.request_id)
        return answer_problem(problem, cause, received.index, context)

    def _answer(self, received: Received, unlogged: Problem | None, context: Any) -> bytes:
        if unlogged is not None:
            return self._refuse(received, unlogged, "log", context)
        context.set_response_content_type(received.index, "application/json")
        if received.route.probe:
            version = public_version(self._version)
            return msgspec.json.encode(Health(model_version=version))
        context.set_response_status(code=202, phrase="Accepted", idx=received.index)
        return msgspec.json.encode(OutcomeAccepted())


def _record(outcome: Outcome, time: str) -> OutcomeRecord:
    return OutcomeRecord(
        schema=outcome_schema(outcome.item_id, outcome.value),
        time=time,
        request_id=outcome.request_id,
        item_id=outcome.item_id,
        event=outcome.event,
        value=outcome.value,
    )
