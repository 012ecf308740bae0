"""Runs as a program of its own: asks an archive's handler in every way a batch may look like.

`python -I -B probe_worker.py FOLDER NAME FOUND MALFORMED` loads the unpacked archive through
TorchServe's own model loader and writes to FOUND, as JSON: when it was loaded, how long its first
request took, its memory, and what each request of each pass got. MALFORMED is a JSON list of bodies
to ask among the golden ones. It imports nothing of marloft's: what the archive needs, it has to
import by itself.
"""

import json
import logging
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

import ts
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.model_loader import ModelLoaderFactory
from ts.service import Service

Answer = dict[str, Any]


def main(folder: Path, name: str, found: Path, malformed: list[bytes]) -> None:
    """Load the handler of the archive in `folder` and ask it its golden requests."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    sys.path.insert(0, str(folder))
    bodies = _bodies(folder)
    service = _load(folder, name, len(bodies) + len(malformed))
    loaded_at = time.time()
    first_ms = None
    if bodies:
        started = time.perf_counter()
        _ask(service, bodies[:1])
        first_ms = (time.perf_counter() - started) * 1e3
    passes = _passes(service, bodies)
    if malformed:
        passes["malformed"] = _among(service, bodies, malformed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found.write_text(
        json.dumps(
            {"loaded_at": loaded_at, "first_ms": first_ms, "peak_kib": peak, "passes": passes}
        )
    )


def _bodies(folder: Path) -> list[bytes]:
    golden = folder / "golden.jsonl"
    lines = golden.read_text().splitlines() if golden.exists() else []
    return [json.dumps(json.loads(line)["request"]).encode() for line in lines]


def _passes(service: Service, bodies: list[bytes]) -> dict[str, list[Answer]]:
    """Return the answers to the golden requests, in golden order whatever the order asked in."""
    if not bodies:
        return {}
    places = list(range(len(bodies)))
    shuffled = random.Random(0).sample(places, len(places))  # noqa: S311 - an order, no secret
    passes = {"alone": [_ask(service, [body])[0] for body in bodies]}
    orders = {"in one batch": places, "reversed": places[::-1], "shuffled": shuffled}
    for how, order in orders.items():
        answers = _ask(service, [bodies[place] for place in order])
        of_place = dict(zip(order, answers, strict=True))
        passes[how] = [of_place[place] for place in places]
    return passes


def _among(service: Service, bodies: list[bytes], malformed: list[bytes]) -> list[Answer]:
    """Ask the malformed requests among the good ones; return their answers first."""
    batch = bodies[:1] + malformed + bodies[1:]
    answers = _ask(service, batch)
    first, end = len(bodies[:1]), len(bodies[:1]) + len(malformed)
    return answers[first:end] + answers[:first] + answers[end:]


def _load(folder: Path, name: str, batch_size: int) -> Service:
    manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
    metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
    metrics.initialize_cache()
    metrics.model_name = name
    loader = ModelLoaderFactory.get_model_loader()
    handler = manifest["model"]["handler"]
    return loader.load(name, str(folder), handler, None, batch_size, metrics_cache=metrics)


def _ask(service: Service, bodies: list[bytes]) -> list[Answer]:
    """Hand the handler one batch as `Service.predict` does, and read what the context was told."""
    batch = [
        {
            "requestId": f"probe-{index}".encode(),
            "headers": [{"name": b"content-type", "value": b"application/json"}],
            "parameters": [
                {"name": "body", "contentType": "application/json", "value": bytearray(body)}
            ],
        }
        for index, body in enumerate(bodies)
    ]
    headers, rows, ids = service.retrieve_data_for_inference(batch)
    context = service.context
    context.request_ids, context.request_processor = ids, headers
    context.metrics.request_ids = ids
    answers = service._entry_point(rows, context)
    if len(answers) != len(bodies):
        raise ValueError(f"{len(answers)} answers to {len(bodies)} requests.")
    return [
        {"status": context.get_response_status(index)[0], "body": _text(answer)}
        for index, answer in enumerate(answers)
    ]


def _text(answer: Any) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else json.dumps(answer)


if __name__ == "__main__":
    wrong = [body.encode() for body in json.loads(sys.argv[4])]
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), wrong)
