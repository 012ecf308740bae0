"""A handler is run before the store gets its archive; each way to fail is found and located."""

from pathlib import Path

import msgspec
import onnx
import pytest

import marloft
from harness import factories, lens
from harness.documents import write_documents
from marloft.archive.pack import pack
from marloft.archive.sandbox.handler_trial import HandlerError
from marloft.contract.manifest import GoldenAnswer, Measured
from marloft.errors import ArchiveError
from tests.planted.failing_starts import CASES, plant

pytestmark = pytest.mark.slow


def _built(folder: Path, old: str = "", new: str = "", config: str = "ranker_v1") -> Measured:
    """Build the tiny ranker with one text replaced in its handler."""
    project = factories.write_project(folder)
    handler = project / "handlers" / "ranker.py"
    text = handler.read_text()
    assert old in text
    handler.write_text(text.replace(old, new, 1))
    store = project / "store"
    try:
        sidecar = pack(project / "archive_configs" / f"{config}.yaml", store)
    except HandlerError:
        assert list(store.iterdir()) == []
        raise
    assert sidecar.measured is not None
    return sidecar.measured


def test_good_handler_is_measured(tmp_path: Path) -> None:
    measured = _built(tmp_path)
    # Six golden requests in five batches, three malformed ones, three numbers of rows.
    assert measured.answers == 6 * 5 + 3 + 3
    assert 0 < measured.load_s < 60
    # A Python with torch and ONNX Runtime loaded, whatever the model.
    assert 50 < measured.peak_memory_mb < 2000
    assert measured.first_request_ms is not None
    assert 0 < measured.first_request_ms < 1000


def test_archive_of_code_alone_is_loaded(tmp_path: Path) -> None:
    measured = _built(tmp_path, config="outcomes")
    assert (measured.answers, measured.first_request_ms) == (0, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("super().load(archive)", "raise KeyError('planted')", r"ranker\.py:15: .*loading or"),
        ("super().load(archive)", "import os; os._exit(0)", r"status 0 while .* no output"),
        (
            "super().load(archive)",
            "import subprocess; subprocess.Popen(['sleep', '60'])",
            r"ranker\.py: it left processes running",
        ),
        (
            "return encode(self",
            "raise KeyError('planted')\n        return encode(self",
            r"ranker\.py:24: .*KeyError: 'planted'",
        ),
    ],
)
def test_failing_handler_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(HandlerError, match=message) as raised:
        _built(tmp_path, old, new)
    assert "planted" not in new or "Traceback" in raised.value.log
    assert str(tmp_path) not in raised.value.log


def test_answer_that_fails_is_told_by_its_own_line(tmp_path: Path) -> None:
    # Never while loading: the golden requests of the warm-up come with the id of a probe.
    fault = 'request.request_id == "probe" or 1 / 0\n        return encode(self'
    with pytest.raises(HandlerError) as raised:
        _built(tmp_path, "return encode(self", fault)
    said = str(raised.value)
    assert said.startswith("ranker.py:24: asked alone, golden.jsonl:1 gets another answer")
    assert said.endswith("status 500: ZeroDivisionError: division by zero (ranker.py:24 in decode)")


# What the lint finds before anything runs.
LINTED = {
    "missing_package": "lower.py:3: no_such_package is neither packed nor installed",
    "syntax": "steps.py:2: '(' was never closed",
}


@pytest.mark.parametrize("case", CASES)
def test_handler_that_cannot_be_loaded_is_told_by_the_users_own_error(
    tmp_path: Path, case: str
) -> None:
    project = factories.write_project(tmp_path)
    with pytest.raises(ArchiveError) as raised:
        pack(plant(project, case, "2.0"), project / "store")
    said = str(raised.value)
    if case in LINTED:
        assert said.startswith(LINTED[case])
        return
    place, what, error = said.partition(": it ended with status ")
    assert what and error.endswith(f" while loading or answering: {CASES[case].said}")
    assert f" ({place} in " in CASES[case].said


_LEAK = """
    def predict(self, inputs: Arrays) -> Arrays:
        scores = self.model.run(inputs)["score"]
        return {"score": %s}

    def decode("""


def test_answer_that_depends_on_the_order_is_refused(tmp_path: Path) -> None:
    # The first request of a batch takes the others' place in the order of golden.jsonl only.
    leak = _LEAK % 'scores + (len(scores) > 50) * (inputs["user"][0] != 7)'
    with pytest.raises(HandlerError, match=r"asked (reversed|shuffled), golden\.jsonl:\d"):
        _built(tmp_path, "\n    def decode(", leak)


def test_answer_that_depends_on_the_batch_is_refused(tmp_path: Path) -> None:
    leak = _LEAK % "scores + (len(scores) > 50)"
    with pytest.raises(HandlerError, match=r"asked in one batch, golden\.jsonl:1"):
        _built(tmp_path, "\n    def decode(", leak)


_CATCH_ALL = """
    def handle(self, data, context):
        answers = super().handle(data, context)
        for index in range(len(data)):
            context.set_response_status(code=200, idx=index)
        return answers

    def decode("""


def test_malformed_request_that_is_answered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HandlerError, match=r"the malformed request \{ got status 200, not a 4xx"):
        _built(tmp_path, "\n    def decode(", _CATCH_ALL)


_SPREAD = """
    def handle(self, data, context):
        answers = super().handle(data, context)
        codes = [context.get_response_status(index)[0] for index in range(len(data))]
        if set(codes) == {200, 400, 422}:
            return [b"{}"] * len(data)
        return answers

    def decode("""


def test_fault_that_spreads_over_its_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HandlerError, match=r"asked in a batch with malformed requests, golden"):
        _built(tmp_path, "\n    def decode(", _SPREAD)


def test_model_of_a_fixed_number_of_rows_is_refused_whatever_the_golden_requests_hold(
    tmp_path: Path,
) -> None:
    project = factories.write_project(tmp_path)
    export = project / "build" / "export"
    model = onnx.load(export / "model.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, export / "model.onnx")
    factories.write_sidecar(export / "model.onnx", "onnx")
    write_documents(project / "build", export / "model.onnx")
    expected = {"scores": factories.score(7, [50]), "prediction": [50]}
    golden = GoldenAnswer(request=factories.body(7, [50]), expected=expected)
    (export / "golden.jsonl").write_bytes(msgspec.json.encode(golden) + b"\n")
    with pytest.raises(HandlerError) as refused:
        pack(project / "archive_configs" / "ranker_v1.yaml", project / "store")
    assert "a request of 2 rows fails" in str(refused.value)
    assert "If model.onnx takes a fixed number of rows, export it" in str(refused.value)
    assert 'dynamic_shapes={"INPUT": {0: "rows"}}' in str(refused.value)


def test_packing_without_a_run_says_so(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    sidecar = marloft.pack(
        project / "archive_configs" / "ranker_v1.yaml", tmp_path, run_handler=False
    )
    assert sidecar.measured is None


def test_golden_parameters_are_tried_as_query_as_json_and_as_headers(tmp_path: Path) -> None:
    lens.write_lens(tmp_path)
    config, golden = tmp_path / "archive_configs" / "lens_1.0.yaml", tmp_path / "golden_lens.jsonl"
    assert pack(config, tmp_path / "store").measured is not None
    right = golden.read_bytes()
    for number in (1, 2, 3):
        golden.write_bytes(right.replace(b'"top_k":%d' % number, b'"top_k":%d' % (number + 10)))
        with pytest.raises(HandlerError, match=rf"golden\.jsonl:{number} gets another answer"):
            pack(config, tmp_path / f"store_{number}")
