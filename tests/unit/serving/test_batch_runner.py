"""The handler base: every request of a batch gets its own answer, and every answer is logged."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from harness import factories
from marloft.contract.predict_api import Problem
from marloft.errors import ArchiveError, ConfigError
from marloft.runtimes import Arrays
from marloft.serving import Handler, Prediction, Rejected, Request, rank
from marloft.serving.rows import BatchBy
from tests.unit.serving.driver import (
    FAULT_IN_DECODE,
    FAULT_IN_PREDICT,
    Sent,
    Server,
    TinyRanker,
)
from tests.unit.serving.writing import turn_into

BAD_ROW = {"user_id": 7, "features": [{"item_id": 1}, {"item_id": "one"}]}


def test_bad_row_refuses_its_request_and_no_other(server: Server) -> None:
    first, bad, last = server.ask(factories.body(7, [3, 1]), BAD_ROW, factories.body(8, [5]))
    assert (first.status, bad.status, last.status) == (200, 422, 200)
    assert bad.content_type == "application/problem+json"
    assert bad.body["errors"] == [
        {"pointer": "/features/1/item_id", "detail": "Expected 'int', got 'str'."}
    ]
    assert first.body["scores"] == pytest.approx(factories.score(7, [3, 1]), abs=1e-6)
    assert last.body["scores"] == pytest.approx(factories.score(8, [5]), abs=1e-6)


def test_answer_ranks_best_first_with_the_firsts_confidence(server: Server) -> None:
    (answer,) = server.ask(factories.golden()[2].request)
    assert answer.body["prediction"] == factories.golden()[2].expected["prediction"]
    assert answer.body["confidence"] == max(answer.body["scores"])
    assert answer.body["model_version"] == "v1.0"


@pytest.mark.parametrize("fault", [FAULT_IN_DECODE, FAULT_IN_PREDICT])
def test_failing_request_fails_alone(server: Server, fault: int) -> None:
    good, bad, other = server.ask(
        factories.body(7, [3]), factories.body(7, [fault]), factories.body(9, [4])
    )
    assert (good.status, bad.status, other.status) == (200, 500, 200)
    assert bad.headers["x-envoy-ratelimited"] == "1"
    assert other.body["scores"] == pytest.approx(factories.score(9, [4]), abs=1e-6)
    assert "planted" in server.records()[1]["error"]
    assert "planted" not in str(bad.body)


def test_encode_that_returns_nothing_is_a_failure_not_a_health_answer(
    serve: Callable[[Handler], Server],
) -> None:
    class Forgetful(TinyRanker):
        forgets = False

        def encode(self, request: Request, outputs: Arrays) -> Prediction:
            return None if self.forgets else super().encode(request, outputs)  # type: ignore[return-value]

    handler = Forgetful()
    server = serve(handler)
    handler.forgets = True
    (answer,) = server.ask(factories.body(7, [3]))
    assert answer.status == 500
    assert "not a Prediction" in server.records()[0]["error"]


def test_whole_batch_runs_the_model_once(serve: Callable[[Handler], Server]) -> None:
    sizes: list[int] = []

    class Counting(TinyRanker):
        def predict(self, inputs: Arrays) -> Arrays:
            sizes.append(len(inputs["user"]))
            return super().predict(inputs)

    server = serve(Counting())
    sizes.clear()
    server.ask(factories.body(7, [1, 2]), factories.body(8, [3]), BAD_ROW)
    assert sizes == [3]


def test_unknown_user_and_item_are_answered_and_counted(server: Server) -> None:
    items = [1, factories.UNKNOWN_ITEM]
    (answer,) = server.ask(factories.body("someone", items))
    expected = factories.score(factories.UNKNOWN_USER, items)
    assert answer.body["scores"] == pytest.approx(expected, abs=1e-6)
    assert server.records()[0]["extra"] == {"unknown_items": 1}


def test_each_request_is_logged_once_whatever_its_answer(server: Server) -> None:
    server.ask(
        factories.body(7, [3, 1], request_id="a"), BAD_ROW, factories.body(7, [FAULT_IN_PREDICT])
    )
    records = server.records()
    assert [record["status"] for record in records] == [200, 422, 500]
    assert [record["request_id"] for record in records] == ["a", "ts-1", "ts-2"]
    assert records[0]["features"] == [{"item_id": 3}, {"item_id": 1}]
    assert records[0]["user_id"] == "7"


def test_batch_is_written_with_one_system_call(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    write = os.write

    def counting(file: int, data: bytes) -> int:
        calls.append(len(data))
        return write(file, data)

    monkeypatch.setattr("marloft.serving.log.os.write", counting)
    server.ask(*[factories.body(7, [i]) for i in range(1, 9)])
    assert len(calls) == 1
    assert len(server.records()) == 8


def test_answer_that_cannot_be_logged_is_not_given(server: Server) -> None:
    turn_into(server.log, "/dev/full")
    for answer in server.ask(factories.body(7, [3]), BAD_ROW):
        assert answer.status == 503
        assert "prediction" not in answer.body
        assert "cannot be written: No space left on device" in answer.body["detail"]
    assert server.records() == []


def test_gateways_facts_reach_record_and_answer(server: Server) -> None:
    route = "release=7;experiment=feed_ab;arm=treatment;version=1.0;propensity=0.5;t=1.5"
    sent = Sent(
        body=factories.body(7, [3]), headers={"x-marloft": route, "x-envoy-attempt-count": "2"}
    )
    (answer,) = server.ask(sent)
    (record,) = server.records()
    assert answer.body["experiment"] == {"name": "feed_ab", "arm": "treatment"}
    assert record["release"] == 7
    assert record["intended_version"] == "1.0"
    assert record["propensity"] == 0.5
    assert record["attempt"] == 2
    assert record["latency_ms"] > 1e9


@pytest.mark.parametrize("headers", [{"x-marloft": "release=x"}, {"x-envoy-attempt-count": "many"}])
def test_malformed_gateway_header_refuses_its_request_alone(
    server: Server, headers: dict[str, str]
) -> None:
    bad, good = server.ask(
        Sent(body=factories.body(7, [3]), headers=headers), factories.body(7, [3])
    )
    assert (bad.status, good.status) == (400, 200)


def test_health_probe_runs_the_model_and_is_not_logged(server: Server) -> None:
    (answer,) = server.ask(Sent(body=b"", headers={"x-marloft": "probe=1"}))
    assert (answer.status, answer.body) == (200, {"status": "ok", "model_version": "v1.0"})
    assert server.records() == []


def test_golden_check_is_answered_as_any_request_and_not_logged(server: Server) -> None:
    headers = {"x-marloft": "check=1;t=1.5"}
    (checked,) = server.ask(Sent(body=factories.body(7, [3]), headers=headers))
    (usual,) = server.ask(factories.body(7, [3]))
    assert checked.status == 200
    assert checked.body["scores"] == usual.body["scores"]
    assert checked.body["latency_ms"] > 1e9
    assert len(server.records()) == 1


def test_health_probe_of_a_broken_model_fails(server: Server) -> None:
    del server.handler.model
    (answer,) = server.ask(Sent(body=b"", headers={"x-marloft": "probe=1"}))
    assert answer.status == 500


def test_handler_that_cannot_answer_a_golden_request_does_not_start(
    serve: Callable[[Handler], Server],
) -> None:
    class Broken(Handler):
        def decode(self, request: Request) -> Arrays:
            raise RuntimeError(f"planted for {request.request_id}")

    with pytest.raises(RuntimeError, match="planted"):
        serve(Broken())


def test_decode_without_arrays_is_a_failure_not_a_health_answer(
    serve: Callable[[Handler], Server],
) -> None:
    class Empty(TinyRanker):
        def decode(self, request: Request) -> Arrays:
            return super().decode(request) if request.request_id == "probe" else {}

    (answer,) = serve(Empty()).ask(factories.body(7, [3]))
    assert answer.status == 500


def test_predict_with_a_wrong_number_of_rows_is_refused(
    serve: Callable[[Handler], Server],
) -> None:
    class TooMany(TinyRanker):
        surplus = 0

        def predict(self, inputs: Arrays) -> Arrays:
            rows = len(inputs["item"]) + self.surplus
            return {"score": np.zeros(rows, np.float32)}

    handler = TooMany()
    server = serve(handler)
    handler.surplus = 98
    (answer,) = server.ask(factories.body(7, [3]))
    assert answer.status == 500
    assert "99 rows" in server.records()[0]["error"]


def test_missing_member_names_what_is_there(
    archive_folder: Path, serve: Callable[[Handler], Server]
) -> None:
    (archive_folder / "model.onnx").unlink()
    with pytest.raises(ArchiveError, match=r"holds no 'model.onnx'; it holds: .*tables.npz"):
        serve(TinyRanker())


class Planted(TinyRanker):
    """Does as it is told once it has started."""

    raised: BaseException | None = None
    stage = ""
    confidence: Any = None

    def decode(self, request: Request) -> Arrays:
        self._fault("decode", request.column("item_id"))
        return super().decode(request)

    def predict(self, inputs: Arrays) -> Arrays:
        self._fault("predict", inputs["item"].tolist())
        return super().predict(inputs)

    def encode(self, request: Request, outputs: Arrays) -> Prediction:
        self._fault("encode", request.column("item_id"))
        answer = super().encode(request, outputs)
        if self.confidence is None or 9 not in request.column("item_id"):
            return answer
        return msgspec.structs.replace(answer, confidence=self.confidence)

    def _fault(self, stage: str, items: list[int]) -> None:
        if self.raised is not None and stage == self.stage and 9 in items:
            raise self.raised


@pytest.mark.parametrize("stage", ["decode", "predict", "encode"])
@pytest.mark.parametrize(
    "raised",
    [SystemExit(3), KeyboardInterrupt(), RecursionError(), MemoryError(), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_handler_raises_fails_its_request_alone(
    serve: Callable[[Handler], Server], stage: str, raised: BaseException
) -> None:
    handler = Planted()
    server = serve(handler)
    handler.stage, handler.raised = stage, raised
    answers = server.ask(factories.body(7, [3]), factories.body(7, [9]), factories.body(8, [5]))
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert answers[2].body["scores"] == pytest.approx(factories.score(8, [5]), abs=1e-6)
    assert server.records()[1]["error"].startswith(type(raised).__name__)


@pytest.mark.parametrize("confidence", [math.nan, math.inf, object(), np.float32(0.5)])
def test_answer_that_is_no_json_fails_its_request_alone(
    serve: Callable[[Handler], Server], confidence: Any
) -> None:
    handler = Planted()
    server = serve(handler)
    handler.confidence = confidence
    answers = server.ask(factories.body(7, [3]), factories.body(7, [9]), factories.body(8, [5]))
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert [record["status"] for record in server.records()] == [200, 500, 200]


def test_arrays_of_unequal_rows_do_not_mix_two_requests_up(
    serve: Callable[[Handler], Server],
) -> None:
    class Uneven(TinyRanker):
        shift = 0

        def decode(self, request: Request) -> Arrays:
            inputs = dict(super().decode(request))
            if self.shift and request.user_id == "7":
                inputs["item"] = inputs["item"][:-1]
            if self.shift and request.user_id == "8":
                inputs["item"] = np.append(inputs["item"], inputs["item"][-1:])
            return inputs

    handler = Uneven()
    server = serve(handler)
    handler.shift = 1
    answers = server.ask(
        *(factories.body(user, [3, 4]) for user in (7, 8, 9)),
    )
    assert [answer.status for answer in answers] == [500, 500, 200]


def _told(limit_s: float | None, arrived_s: float) -> dict[str, str]:
    limit = "" if limit_s is None else f";d={limit_s}"
    return {"x-marloft": f"release=7;version=1.0;t={arrived_s:.6f}{limit}"}


def test_request_whose_deadline_has_passed_is_not_predicted(
    serve: Callable[[Handler], Server],
) -> None:
    predicted: list[int] = []

    class Counting(TinyRanker):
        def predict(self, inputs: Arrays) -> Arrays:
            predicted.append(len(inputs["user"]))
            return super().predict(inputs)

    server = serve(Counting())
    predicted.clear()
    now = time.time()
    late, good, forever = server.ask(
        Sent(body=factories.body(7, [3, 1], request_id="late"), headers=_told(8, now - 9)),
        Sent(body=factories.body(7, [3]), headers=_told(8, now - 1)),
        Sent(body=factories.body(7, [3]), headers=_told(None, now - 9)),
    )
    assert (late.status, good.status, forever.status) == (504, 200, 200)
    assert predicted == [2]
    assert late.headers["x-envoy-ratelimited"] == "1"
    assert late.headers["x-marloft-cause"] == "late"
    record = server.records()[0]
    assert (record["request_id"], record["status"], record["user_id"]) == ("late", 504, "7")
    assert "deadline passed before prediction" in record["error"]
    assert record["queue_ms"] >= 9000


def test_probe_that_nobody_waits_for_is_not_predicted(server: Server) -> None:
    del server.handler.model
    headers = {"x-marloft": f"probe=1;t={time.time() - 2:.6f};d=1"}
    (answer,) = server.ask(Sent(body=b"", headers=headers))
    assert answer.status == 504


def test_record_has_the_time_of_each_stage_that_was_reached(
    serve: Callable[[Handler], Server],
) -> None:
    class Slow(TinyRanker):
        pause_s = 0.0

        def predict(self, inputs: Arrays) -> Arrays:
            time.sleep(self.pause_s)
            return super().predict(inputs)

    handler = Slow()
    server = serve(handler)
    handler.pause_s = 0.05
    server.ask(factories.body(7, [3, 1, 2]), factories.body(7, [3]), BAD_ROW)
    first, second, refused = server.records()
    assert list(first["stages"]) == ["admit", "predict", "compose"]
    assert first["stages"]["predict"] == second["stages"]["predict"] >= 50
    assert first["predict_ms"] == pytest.approx(3 * second["predict_ms"], rel=1e-3)
    assert sum(first["stages"].values()) <= first["latency_ms"] + 0.001
    assert list(refused["stages"]) == ["admit"]


class ByRequests(TinyRanker):
    """Gets the user once per request and answers with a number of the whole request, too."""

    batch_by: ClassVar[BatchBy] = "requests"
    pause_s = 0.0

    def __init__(self) -> None:
        self.runs: list[dict[str, tuple[int, ...]]] = []

    def decode(self, request: Request) -> Arrays:
        inputs = super().decode(request)
        return {**inputs, "user": inputs["user"][:1]}

    def predict(self, inputs: Arrays) -> Arrays:
        self.runs.append({name: array.shape for name, array in inputs.items()})
        time.sleep(self.pause_s)
        rows = len(inputs["item"])
        scores = super().predict({**inputs, "user": np.repeat(inputs["user"], rows)})["score"]
        return {"score": scores, "best": scores.max(), "first": scores[:1]}

    def encode(self, request: Request, outputs: Arrays) -> Prediction:
        if {name: np.ndim(array) for name, array in outputs.items()} != {
            "score": 1, "best": 0, "first": 1,
        }:  # fmt: skip
            raise ValueError("the outputs are not whole")
        return rank(request.column("item_id"), outputs["score"])


def test_by_requests_each_is_predicted_alone_with_arrays_of_any_shape(
    serve: Callable[[Handler], Server],
) -> None:
    handler = ByRequests()
    server = serve(handler)
    handler.runs.clear()
    answers = server.ask(factories.body(7, [3, 1, 4]), BAD_ROW, factories.body(8, [5]))
    assert [answer.status for answer in answers] == [200, 422, 200]
    assert [(run["user"], run["item"]) for run in handler.runs] == [((1,), (3,)), ((1,), (1,))]
    assert answers[0].body["scores"] == pytest.approx(factories.score(7, [3, 1, 4]), abs=1e-6)
    assert answers[2].body["scores"] == pytest.approx(factories.score(8, [5]), abs=1e-6)


def test_by_requests_warm_up_and_probes_run_each_alone(
    serve: Callable[[Handler], Server],
) -> None:
    handler = ByRequests()
    server = serve(handler)
    assert len(handler.runs) == 2 * len(factories.golden())
    assert {run["user"] for run in handler.runs} == {(1,)}
    (answer,) = server.ask(Sent(body=b"", headers={"x-marloft": "probe=1"}))
    assert answer.status == 200


def test_by_requests_a_failure_costs_its_request_alone_and_nothing_runs_twice(
    serve: Callable[[Handler], Server],
) -> None:
    handler = ByRequests()
    server = serve(handler)
    handler.runs.clear()
    answers = server.ask(
        factories.body(7, [3]), factories.body(7, [FAULT_IN_PREDICT]), factories.body(8, [5])
    )
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert len(handler.runs) == 3
    assert "planted in predict" in server.records()[1]["error"]


def test_by_requests_the_time_of_a_run_is_its_requests_own(
    serve: Callable[[Handler], Server],
) -> None:
    handler = ByRequests()
    server = serve(handler)
    handler.pause_s = 0.03
    server.ask(factories.body(7, [3, 1, 2]), factories.body(7, [3]))
    for record in server.records():
        assert record["predict_ms"] == record["stages"]["predict"]
        # Neither is the other's time added.
        assert record["predict_ms"] >= 30
    assert sum(record["predict_ms"] for record in server.records()) <= record["latency_ms"]


def test_by_rows_the_same_handler_is_told_of_the_other_way(
    serve: Callable[[Handler], Server],
) -> None:
    class Forgotten(ByRequests):
        batch_by = "rows"

    with pytest.raises(ValueError, match=r"arrays of .*'user': 1.*write `batch_by = \"requests\"`"):
        serve(Forgotten())


def test_other_word_for_batch_by_keeps_a_worker_from_starting(
    serve: Callable[[Handler], Server],
) -> None:
    mistyped = type("Mistyped", (TinyRanker,), {"batch_by": "request"})
    with pytest.raises(ConfigError, match="batch_by is 'request'"):
        serve(mistyped())


def test_every_golden_request_runs_before_the_first_client_the_largest_first(
    serve: Callable[[Handler], Server],
) -> None:
    rows: list[int] = []

    class Counting(TinyRanker):
        def predict(self, inputs: Arrays) -> Arrays:
            rows.append(len(inputs["user"]))
            return super().predict(inputs)

    serve(Counting())
    each = sorted((len(g.request["features"]) for g in factories.golden()), reverse=True)
    assert rows[0] == each[0] == 50
    assert sorted(rows[:-1], reverse=True) == each
    assert rows[-1] == sum(each)


def test_warm_up_ends_when_its_time_is_over(
    serve: Callable[[Handler], Server],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("marloft.serving.batch_runner._WARM_UP_S", 0.0)
    serve(TinyRanker())
    assert "Warm-up stops after" in caplog.text


def test_rejected_carries_the_place_only_for_422() -> None:
    assert Rejected("no", "/features/0").problem("r") == Problem(
        title="Invalid request",
        status=422,
        detail="no",
        request_id="r",
        errors=Rejected("no", "/features/0").problem("r").errors,
    )
    assert Rejected("no", status=400).problem("r").errors is None
