"""A worker of real TorchServe: its threads, its batches, and the work it does not do."""

import concurrent.futures
import time
from collections.abc import Iterator

import pytest

from harness import factories
from marloft.cores import available_cores
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
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Two models: `busy` answers one request at a time, `wide` has a worker per core."""
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
    statuses = [status for status, _ in answers]
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
    assert len(predicted) <= 9
    assert all(r.queue_ms is not None and r.queue_ms < 8000 for r in predicted)
