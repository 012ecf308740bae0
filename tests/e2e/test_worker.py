"""A worker of real TorchServe: its threads, its batches, and the work it does not do."""

import concurrent.futures
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from harness import factories, lens
from harness.hostile_archives.building import read, write
from marloft.cores import available_cores
from marloft.deploy.control.golden_gate import GoldenGate, questions
from tests.e2e.running import Serving, configure, marloft, records

pytestmark = pytest.mark.e2e

# Item 60 holds the worker up for a second. The runtime's own thread counts go to the log.
_HANDLER = '''
"""The ranker with a brake."""

import sys
import time

import msgspec
from ranker import RankerHandler


class BrakedRanker(RankerHandler):
    """Sleeps when it is asked about item 60 and logs its threads."""

    def load(self, archive):
        super().load(archive)
        self.allowed = archive.threads

    def predict(self, inputs):
        if 60 in inputs["item"]:
            time.sleep(1.0)
        return super().predict(inputs)

    def encode(self, request, outputs):
        if "torch" in sys.modules and not hasattr(self.model, "_session"):
            used = sys.modules["torch"].get_num_threads()
        else:
            used = self.model._session.get_session_options().intra_op_num_threads
        extra = {"allowed": self.allowed, "used": used}
        return msgspec.structs.replace(super().encode(request, outputs), extra=extra)
'''
_CONFIG = """
name: {name}
version: "{version}"
handler: ../handlers/braked_ranker.py
artifact: ../build/export/model.{runtime}
runtime: {runtime}
files: {{tables.npz: ../build/export/tables.npz, ranker.py: ../handlers/ranker.py}}
schema: {{max_rows: 500, row: {{item_id: {{type: integer, minimum: 0}}}}}}
settings: {{workers: 1, batch_size: {batch}, max_batch_delay_ms: {delay}, response_timeout_s: 3}}
"""
_DEPLOYMENT = """\
default_model: busy
models:
  busy: {{versions: {{"1.0": {{workers: 1}}}}, default: "1.0"}}
  wide: {{versions: {{"1.0": {{workers: {cores}}}, "1.1": {{}}}}, default: "1.0"}}
  lens: {{versions: {{"1.0": {{}}, "1.1": {{}}}}, default: "1.0"}}
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Three models: `busy` answers one request at a time, `wide` has a worker per core.

    `lens` takes parameters beside its images.
    """
    folder = factories.write_project(tmp_path_factory.mktemp("worker"), torchscript=True)
    for config in (folder / "archive_configs").glob("*.yaml"):
        config.unlink()
    (folder / "handlers" / "braked_ranker.py").write_text(_HANDLER)
    for name, version, runtime, batch, delay in (
        ("busy", "1.0", "onnx", 1, 1),
        ("wide", "1.0", "onnx", 32, 300),
        ("wide", "1.1", "torchscript", 32, 300),
    ):
        text = _CONFIG.format(name=name, version=version, runtime=runtime, batch=batch, delay=delay)
        (folder / "archive_configs" / f"{name}_{version[-1]}.yaml").write_text(text)
    lens.write_lens(folder)
    configure(folder, _DEPLOYMENT.format(cores=available_cores()))
    marloft(folder, "apply")
    with Serving(folder) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "version", "workers"),
    [
        ("/models/wide/predict", "1.0", available_cores()),
        ("/models/wide/predict", "1.1", 1),
        ("/predict", "1.0", 1),
    ],
)
def test_threads_are_the_cores_by_the_workers_of_the_release(
    serving: Serving, path: str, version: str, workers: int
) -> None:
    body = factories.body(7, [3], model_version=version, request_id=f"threads-{path}-{version}")
    body["request_id"] = body["request_id"].replace("/", ".")
    assert serving.predict(path, **body).status_code == 200
    (record,) = [r for r in records(serving.project) if r.request_id == body["request_id"]]
    threads = max(1, available_cores() // workers)
    assert record.extra == {"allowed": threads, "used": threads}


def test_one_bad_request_among_32_of_a_batch_leaves_31_right_answers(serving: Serving) -> None:
    def ask(number: int) -> tuple[int, object]:
        item = "bad" if number == 17 else number + 1
        answer = serving.predict(
            "/models/wide/predict",
            **factories.body(number + 1, [item, 3], model_version="1.1", request_id=f"b-{number}"),
        )
        return answer.status_code, answer.json().get("scores")

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(32)))
    assert [status for status, _ in answers] == [422 if n == 17 else 200 for n in range(32)]
    for number, (_, scores) in enumerate(answers):
        if number != 17:
            expected = factories.score(number + 1, [number + 1, 3])
            assert scores == pytest.approx(expected, abs=1e-5)
    runs = [
        r.stages["predict"]
        for r in records(serving.project)
        if r.request_id[:2] == "b-" and r.stages and "predict" in r.stages
    ]
    assert len(runs) == 31
    # Requests of one batch share the time of its run.
    assert len(set(runs)) < 10


def test_work_that_nobody_waits_for_is_not_done(serving: Serving) -> None:
    def ask(number: int) -> tuple[int, float]:
        body = factories.body(7, [60], request_id=f"slow-{number}")
        answer = serving.predict("/predict", **body)
        return answer.status_code, time.time()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    gave_up = max(ended for _, ended in answers)
    # On a busy machine the gateway takes fewer of them at once.
    statuses = [status for status, _ in answers if status != 503]
    assert set(statuses) == {200, 504}
    # Sixteen and their retries are more than 16 s of work, all of which is still queued.
    last = serving.predict("/predict", **factories.body(8, [3], request_id="after"))
    assert last.status_code == 200
    assert time.time() - gave_up < 2.5
    slow = [r for r in records(serving.project) if r.request_id.startswith("slow-")]
    late = [r for r in slow if r.status == 504]
    assert len(late) > len(statuses) // 2
    assert all(r.predict_ms is None and r.user_id == "7" for r in late)
    assert all("deadline passed before prediction" in (r.error or "") for r in late)
    predicted = [r for r in slow if r.predict_ms is not None]
    assert len(predicted) <= 21
    assert all(r.queue_ms is not None and r.queue_ms < 20_000 for r in predicted)


def _ask(serving: Serving, query: str = "", **sent: Any) -> httpx2.Response:
    headers = {"content-type": "image/png"} | sent.pop("headers", {})
    content = sent.pop("content", lens.IMAGE)
    path = f"/models/lens/predict{query}"
    return serving.client.post(path, content=content, headers=headers)


def _json(**parameters: Any) -> dict[str, Any]:
    body = json.dumps(lens.body(**parameters))
    return {"content": body, "headers": {"content-type": "application/json"}}


def test_parameters_of_an_image_come_as_query_header_or_json_alike(serving: Serving) -> None:
    answers = [
        _ask(serving, "?top_k=5&language=de"),
        _ask(serving, headers={"x-parameter-top-k": "5", "x-parameter-language": "de"}),
        _ask(serving, "?language=de", headers={"x-parameter-top-k": "5"}),
        _ask(serving, **_json(top_k=5, language="de")),
        _ask(serving, "?language=de", **_json(top_k=5)),
    ]
    assert [answer.json().get("prediction") for answer in answers] == [
        [len(lens.IMAGE), 5, "de"]
    ] * 5
    logged = {record.request_id: record.parameters for record in records(serving.project)}
    for answer in answers:
        assert logged[answer.json()["request_id"]] == {"top_k": 5, "language": "de"}


def test_each_version_takes_its_own_parameters(serving: Serving) -> None:
    pinned = {"x-model-version": "v1.1"}
    asked = _ask(serving, "?top_k=5&zoom=2", headers=pinned)
    assert asked.json()["prediction"] == [len(lens.IMAGE), 5, 2.0]
    # The gateway lets in what any version takes; the worker refuses what its own does not know.
    unknown = _ask(serving, "?top_k=5&zoom=2")
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (
        422,
        "/parameters/zoom",
    )
    assert "Unknown query parameter 'zoom'. Allowed: language, top_k." in unknown.text


@pytest.mark.parametrize(
    ("query", "sent", "status", "words"),
    [
        ("", {}, 422, "in the query as ?top_k=…, or as header x-parameter-top-k."),
        ("?top_k=five", {}, 422, "The query's top_k is 'five'; an integer is written as 5."),
        ("?top_k=101", {}, 422, "<= 100. It came in the query."),
        ("?top_k=5", {"headers": {"x-parameter-top-k": "6"}}, 400, "is 5 in the query but 6 in"),
        ("?top_k=5", _json(top_k=6), 400, "is 6 in the body but 5 in the query"),
        ("?top_k=5&body=x", {}, 400, "language=…&top_k=…&zoom=…"),
        ("?top_k=5&top_k=6", {}, 400, "top_k is given twice in the query; give it once."),
        ("?top%5Fk=5", {}, 400, "may hold these parameters only"),
        ("?top_k=5;data=x", {}, 400, "may hold these parameters only"),
        ("?language=" + "a" * 8192, {}, 400, "more than 800 characters"),
    ],
)
def test_wrong_parameter_is_a_problem(
    serving: Serving, query: str, sent: dict[str, Any], status: int, words: str
) -> None:
    answer = _ask(serving, query, **sent)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert words in answer.json()["detail"]


def test_model_without_parameters_takes_no_query_and_no_such_field(serving: Serving) -> None:
    body = factories.body(7, [3])
    query = serving.client.post("/models/wide/predict?top_k=5", json=body)
    assert query.status_code == 400
    assert query.json()["detail"] == "Query parameters are not taken; put everything into the body."
    field = serving.client.post("/models/wide/predict", json=body | {"parameters": {}})
    assert field.status_code == 422
    assert "Unknown field 'parameters'." in field.json()["detail"]
    header = serving.client.post(
        "/models/wide/predict", json=body, headers={"x-parameter-top-k": "5"}
    )
    assert header.status_code == 200


def test_torchserve_by_itself_drops_the_query_and_passes_the_rest(serving: Serving) -> None:
    """What docs/handler.md says of requests that pass the gateway by."""
    port = serving.ports.inference
    headers = {"content-type": "image/png", "x-parameter-top-k": "5"}

    def ask(path: str, **more: str) -> httpx2.Response:
        url = f"http://127.0.0.1:{port}{path}"
        return httpx2.post(url, content=lens.IMAGE, headers=headers | more)

    dropped = ask("/predictions/lens/1.0?language=de&body=x")
    assert dropped.json()["prediction"] == [len(lens.IMAGE), 5, "en"]
    legacy = ask("/lens/predict?language=de")
    assert legacy.json()["prediction"] == [len(lens.IMAGE), 5, "de"]
    for query in ("body=x", "data=x", "x-marloft=version%3D9.0", "content-type=a"):
        attacked = ask(f"/lens/predict?{query}")
        if query == "body=x":
            assert attacked.json()["prediction"] == [len(lens.IMAGE), 5, "en"]
        else:
            assert attacked.status_code == 422, attacked.text


def test_gate_sends_golden_parameters_as_query_and_as_header(serving: Serving) -> None:
    packed = serving.project / "model_store" / "lens-1.0.mar"
    sent = [request.headers for _, request in questions(packed)]
    assert [set(each) - {"content-type"} for each in sent] == [
        {"x-marloft-query"},
        set(),
        {"x-parameter-top-k", "x-parameter-language"},
    ]
    members = read(packed)
    gate = GoldenGate(serving.ports.inference)
    try:
        assert gate.check(packed, "lens", "1.0") is None
        for number in (1, 2, 3):
            wrong = members["golden.jsonl"].replace(
                f'"top_k":{number}'.encode(), f'"top_k":{number + 10}'.encode()
            )
            assert wrong != members["golden.jsonl"]
            other = packed.with_name("other.mar")
            write(other, members | {"golden.jsonl": wrong})
            assert f"golden answer {number} differs" in str(gate.check(other, "lens", "1.0"))
    finally:
        gate.close()
