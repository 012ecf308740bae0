"""Runs as a program of its own: answers batches of requests as a TorchServe worker would.

`python -I -B handler_worker.py FOLDER NAME ANSWERS BATCHES` loads the unpacked archive through
TorchServe's own model loader, or through a stand-in where BATCHES says so, sends it the batches of
BATCHES (as `handler_run.run_batches` writes them) and writes to ANSWERS, as JSON: what each request
of each batch got, how long each batch took, when the archive was loaded, and the largest resident
size. Of marloft's it imports the stand-in alone: what the archive needs, it has to import itself.
"""

import base64
import importlib
import json
import logging
import resource
import struct
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]


class _Service(Protocol):
    """A loaded handler."""

    def answer(self, requests: list[Json]) -> list[Json]:
        """Return status and body of each request of a batch."""


def main(folder: Path, name: str, answers: Path, given: Json) -> None:
    """Load the handler of the archive in `folder` and send it each batch, in order."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    sys.path.insert(0, str(folder))
    requests, batches = given["requests"], given["batches"]
    service = _load(folder, name, max([1, *map(len, batches)]), given["torchserve"])
    found: Json = {"loaded_at": time.time(), "batches": [], "batch_ms": []}
    for batch in batches:
        sent = [_request(place, requests[place]) for place in batch]
        started = time.perf_counter()
        got = service.answer(sent)
        found["batch_ms"].append((time.perf_counter() - started) * 1e3)
        found["batches"].append(got)
    found["peak_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answers.write_text(json.dumps(found))


def _load(folder: Path, name: str, batch_size: int, torchserve: bool) -> _Service:
    if torchserve:
        return _TorchServe(folder, name, batch_size)
    from marloft.archive.sandbox.torchserve_stand_in import StandIn  # noqa: PLC0415

    return StandIn(folder, name, batch_size)


def _request(place: int, request: Json) -> Json:
    body = bytearray(base64.b64decode(request["body"]))
    return {"place": place, "headers": request["headers"], "body": body}


class _TorchServe:
    """A handler that TorchServe's own model loader has loaded."""

    def __init__(self, folder: Path, name: str, batch_size: int) -> None:
        import ts  # noqa: PLC0415 - it imports torch; not where the stand-in is asked for
        from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl  # noqa: PLC0415
        from ts.model_loader import ModelLoaderFactory  # noqa: PLC0415

        manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
        # TorchServe's loader would answer an import error with one about a module of its own.
        importlib.import_module(Path(manifest["model"]["handler"]).stem)
        metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
        metrics.initialize_cache()
        metrics.model_name = name
        self._service = ModelLoaderFactory.get_model_loader().load(
            name, str(folder), manifest["model"]["handler"], None, batch_size, metrics_cache=metrics
        )
        self._service.set_cl_socket(None)

    def answer(self, requests: list[Json]) -> list[Json]:
        """Return status and body of each request of a batch."""
        return _Reply(self._service.predict(list(map(_as_received, requests)))).answers()


def _as_received(request: Json) -> Json:
    """Return a request as TorchServe's worker reads it from the front end."""
    headers = request["headers"]
    kind, body = headers["content-type"], request["body"]
    return {
        "requestId": f"asked-{request['place']}".encode(),
        "headers": [{"name": k.encode(), "value": v.encode()} for k, v in headers.items()],
        "parameters": [{"name": "body", "contentType": kind, "value": body}],
    }


class _Reply:
    """Reads the worker's reply in TorchServe's wire format (ts/protocol/otf_message_handler.py)."""

    def __init__(self, data: bytearray) -> None:
        self._data = bytes(data)
        self._at = 0

    def answers(self) -> list[Json]:
        self._int()
        self._field()
        answers: list[Json] = []
        while (length := self._int()) != -1:
            self._at += length
            self._field()
            status = self._int()
            self._field()
            for _ in range(2 * self._int()):
                self._field()
            answers.append({"status": status, "body": self._field().decode(errors="replace")})
        return answers

    def _int(self) -> int:
        (value,) = struct.unpack_from("!i", self._data, self._at)
        self._at += 4
        return int(value)

    def _field(self) -> bytes:
        length = self._int()
        self._at += length
        return self._data[self._at - length : self._at]


if __name__ == "__main__":
    _, folder, name, answers, given = sys.argv
    try:
        main(Path(folder), name, Path(answers), json.loads(Path(given).read_bytes()))
    except SystemExit as ended:
        # Python ends without a traceback then, and nobody could see where.
        traceback.print_exc()
        sys.exit(ended.code if isinstance(ended.code, int) else 1)
