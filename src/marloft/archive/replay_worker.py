"""Runs as a program of its own: answers golden requests as a TorchServe worker would.

`python -I -B replay_worker.py FOLDER NAME ANSWERS` loads the unpacked archive through TorchServe's
own model loader and writes what each request got, alone and in one batch, to ANSWERS as JSON. It
imports nothing of marloft's: what the archive needs, it has to import by itself.
"""

import importlib
import json
import logging
import struct
import sys
from pathlib import Path
from typing import Any

import ts
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.model_loader import ModelLoaderFactory

Answer = dict[str, Any]


def main(folder: Path, name: str, answers: Path) -> None:
    """Load the handler of the archive in `folder` and answer its golden requests, if it has any."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    sys.path.insert(0, str(folder))
    golden = folder / "golden.jsonl"
    lines = golden.read_text().splitlines() if golden.exists() else []
    bodies = [json.dumps(json.loads(line)["request"]).encode() for line in lines]
    service = _load(folder, name, max(1, len(bodies)))
    alone = [_predict(service, [body])[0] for body in bodies]
    together = _predict(service, bodies) if bodies else []
    answers.write_text(json.dumps({"alone": alone, "together": together}))


def _load(folder: Path, name: str, batch_size: int) -> Any:
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
    # TorchServe's loader would answer an import error with one about a module of its own.
    importlib.import_module(Path(manifest["model"]["handler"]).stem)
    metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
    metrics.initialize_cache()
    metrics.model_name = name
    service = ModelLoaderFactory.get_model_loader().load(
        name, str(folder), manifest["model"]["handler"], None, batch_size, metrics_cache=metrics
    )
    service.set_cl_socket(None)
    return service


def _predict(service: Any, bodies: list[bytes]) -> list[Answer]:
    batch = [
        {
            "requestId": f"replay-{index}".encode(),
            "headers": [],
            "parameters": [
                {"name": "body", "contentType": "application/json", "value": bytearray(body)}
            ],
        }
        for index, body in enumerate(bodies)
    ]
    return _Reply(service.predict(batch)).answers()


class _Reply:
    """Reads the worker's reply in TorchServe's wire format (ts/protocol/otf_message_handler.py)."""

    def __init__(self, data: bytearray) -> None:
        self._data = bytes(data)
        self._at = 0

    def answers(self) -> list[Answer]:
        self._int()
        self._field()
        answers: list[Answer] = []
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
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
