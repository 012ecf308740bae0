"""A handler as TorchServe drives it: its own context and its own way of taking requests apart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ts.context import Context
from ts.service import Service

from marloft.contract.schema import Property, RowSchema
from marloft.ranker.features import FeatureTables, count_unknown, encode, parse_user_id
from marloft.runtimes import Arrays
from marloft.serving import Handler, LoadedArchive, Prediction, Request, rank
from marloft.serving.handler import runner_of
from marloft.serving.log import RecordLog
from marloft.serving.outcomes import OutcomeReceiver

SCHEMA = RowSchema(
    row={"item_id": Property(type="integer", minimum=0, maximum=2**53 - 1)}, max_rows=60
)

# Item k has table row k, since the tiny tables hold the ids from 1 on.
FAULT_IN_DECODE, FAULT_IN_PREDICT = 56, 55


class TinyRanker(Handler):
    """The ranker's handler with two faults to call for, by the item asked about."""

    def load(self, archive: LoadedArchive) -> None:
        super().load(archive)
        self.tables = FeatureTables.load(archive.path("tables.npz"))

    def decode(self, request: Request) -> Arrays:
        items = request.column("item_id")
        if FAULT_IN_DECODE in items:
            raise KeyError("planted in decode")
        user = parse_user_id(request.user_id)
        return encode(self.tables, np.full(len(items), user), np.array(items))

    def predict(self, inputs: Arrays) -> Arrays:
        if FAULT_IN_PREDICT in inputs["item"]:
            raise RuntimeError("planted in predict")
        return super().predict(inputs)

    def encode(self, request: Request, outputs: Arrays) -> Prediction:
        ranked = rank(request.column("item_id"), outputs["score"])
        unknown = count_unknown(self.decode(request))
        return msgspec.structs.replace(ranked, extra={"unknown_items": unknown.items})


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    content_type: str | None
    body: dict[str, Any]
    headers: dict[str, str]
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One request as a client sends it; `torchserve_id` is the id that TorchServe gives it.

    `query` is what TorchServe makes of one, which it does for `/{model}/predict`.
    """

    body: Any
    headers: dict[str, str] | None = None
    content_type: str = "application/json"
    torchserve_id: str | None = None
    query: dict[str, str] | None = None


class Server:
    """Feeds batches to one handler through TorchServe's `Service` and reads its answers."""

    def __init__(
        self,
        handler: Handler | OutcomeReceiver,
        folder: Path,
        var: Path,
        log: str = "predictions",
        registered: str = "ranker",
    ) -> None:
        model = {"modelName": "ranker", "modelVersion": "1.0", "serializedFile": "model.onnx"}
        self.context = Context(registered, str(folder), {"model": model}, 16, None, "test")
        self.handler: Any = handler
        self.log_folder = var / "log" / log
        handler.initialize(self.context)

    def ask(self, *requests: Any) -> list[Answer]:
        """Answer one batch; a dict or bytes stands for a JSON request with that body."""
        answers = self.handler.handle(take_apart(self.context, requests), self.context)
        return [self._answer(i, answer) for i, answer in enumerate(answers)]

    @property
    def log(self) -> RecordLog:
        """The log that the handler writes."""
        owner = runner_of(self.handler) if isinstance(self.handler, Handler) else self.handler
        log: RecordLog = owner._log._log
        return log

    def records(self) -> list[dict[str, Any]]:
        """The log so far."""
        lines = [f.read_text() for f in sorted(self.log_folder.glob("*.jsonl"))]
        return [json.loads(line) for line in "".join(lines).splitlines()]

    def _answer(self, index: int, body: bytes) -> Answer:
        return Answer(
            status=self.context.get_response_status(index)[0],
            content_type=self.context.get_response_content_type(index),
            body=json.loads(body or b"{}"),
            raw=body,
            headers=self.context.get_response_headers(index),
        )


def take_apart(context: Context, requests: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows a handler gets for a batch, after telling the context of its headers."""
    sent = [r if isinstance(r, Sent) else Sent(body=r) for r in requests]
    batch = [_as_frontend_sends(i, request) for i, request in enumerate(sent)]
    headers, rows, ids = Service.retrieve_data_for_inference(batch)
    context.request_ids, context.request_processor = ids, headers
    return list(rows)


def _as_frontend_sends(index: int, request: Sent) -> dict[str, Any]:
    raw = request.body if isinstance(request.body, bytes) else json.dumps(request.body).encode()
    headers = {"content-type": request.content_type, **(request.headers or {})}
    return {
        "requestId": (request.torchserve_id or f"ts-{index}").encode(),
        "parameters": [
            *(
                {"name": name, "contentType": "", "value": bytearray(value.encode())}
                for name, value in (request.query or {}).items()
            ),
            {"name": "body", "contentType": request.content_type, "value": bytearray(raw)},
        ],
        "headers": [{"name": k.encode(), "value": v.encode()} for k, v in headers.items()],
    }
