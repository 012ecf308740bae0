"""The ranker's real handler: a batch answers as its requests one by one, however it is split."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import factories
from marloft.archive.spec import ArchiveSpec
from marloft.contract.schema import to_json_schema
from marloft.files import read_yaml, to_json, write_atomic
from marloft.ranker import export, quantize
from marloft.ranker.features import build_tables
from marloft.ranker.models import Ranker, table_sizes
from marloft.serving import Prediction, Request
from marloft.training.config import ModelConfig
from tests.unit.handlers.test_ranker import handler_of
from tests.unit.serving.driver import SCHEMA, Server

pytestmark = pytest.mark.slow

TOLERANCE = read_yaml(
    factories.REPOSITORY / "archive_configs" / "ranker_v2.yaml", ArchiveSpec
).golden_tolerance
_USERS, _ITEMS = 40, 60
_REQUEST = st.builds(
    factories.body,
    st.none() | st.integers(0, _USERS + 5),
    st.lists(st.integers(0, _ITEMS + 5), min_size=1, max_size=20),
)
_BATCHES = st.lists(_REQUEST, min_size=2, max_size=12).flatmap(
    lambda requests: st.tuples(
        st.just(requests),
        st.permutations(range(len(requests))),
        st.lists(st.integers(1, len(requests) - 1), max_size=3),
    )
)
_some = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranker of the real architecture as fp32 and dynamic INT8, with its tables."""
    import torch

    folder = tmp_path_factory.mktemp("export")
    genres = [[("Drama", "Comedy", "War")[item % 3]] for item in range(_ITEMS)]
    years: list[int | None] = [1930 + item for item in range(_ITEMS)]
    tables = build_tables(np.arange(_USERS), np.arange(_ITEMS), years, genres)
    torch.manual_seed(0)
    config = ModelConfig(embedding_dim=8, cross_layers=2, hidden=(16, 8), init_std=0.3)
    export.write_onnx(Ranker(config, table_sizes(tables)).eval(), folder / "model.onnx")
    quantize.write_int8(folder / "model.onnx", folder / "model.int8.onnx")
    tables.save(folder / "tables.npz")
    write_atomic(folder / "schema.json", to_json(to_json_schema(SCHEMA)))
    return folder


@pytest.fixture
def start(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Server]:
    """Start the real handler on one of the models, as model.onnx of an archive of its own."""
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))

    def of(model: str, handler: Any = None) -> Server:
        folder = tmp_path / "archive"
        for member in ("tables.npz", "schema.json"):
            write_atomic(folder / member, (exported / member).read_bytes())
        write_atomic(folder / "model.onnx", (exported / model).read_bytes())
        return Server(handler or handler_of("ranker"), folder, tmp_path / "var")

    return of


def _worst(server: Server, case: tuple[list[dict[str, Any]], list[int], list[int]]) -> float:
    """Return the largest difference of a score between alone and in reordered, split batches."""
    requests, order, cuts = case
    alone = [server.ask(request)[0].body["scores"] for request in requests]
    edges = sorted({0, *cuts, len(order)})
    worst = 0.0
    for first, end in itertools.pairwise(edges):
        places = order[first:end]
        for place, answer in zip(places, server.ask(*(requests[p] for p in places)), strict=True):
            assert answer.status == 200
            worst = max(
                worst, float(np.max(np.abs(np.subtract(answer.body["scores"], alone[place]))))
            )
    return worst


def test_fp32_answers_in_any_batch_as_alone(start: Callable[[str], Server]) -> None:
    server = start("model.onnx")

    @given(_BATCHES)
    @_some
    def check(case: Any) -> None:
        # Answers are rounded to 6 decimals: half a unit on either side.
        assert _worst(server, case) <= 1e-6 + 1e-12

    check()


def test_int8_answers_in_any_batch_within_the_archives_tolerance(
    start: Callable[[str], Server],
) -> None:
    server, found = start("model.int8.onnx"), [0.0]

    @given(_BATCHES)
    @_some
    def check(case: Any) -> None:
        found.append(_worst(server, case))
        assert found[-1] <= TOLERANCE

    check()
    assert max(found) > 1e-6, "no score moved: this model is not dynamic INT8"


def test_handler_that_mixes_requests_up_is_noticed(start: Callable[..., Server]) -> None:
    real: Any = type(handler_of("ranker"))

    class Leaky(real):  # type: ignore[misc]
        last = 0.0

        def encode(self, request: Request, outputs: Any) -> Prediction:
            self.last, before = float(outputs["score"][0]), self.last
            shifted: Prediction = super().encode(request, {"score": outputs["score"] + before})
            return shifted

    server = start("model.onnx", Leaky())
    case: Any = ([factories.body(7, [3, 1]), factories.body(8, [5])], [1, 0], [])
    assert _worst(server, case) > 1e-3


def test_one_bad_request_among_32_leaves_31_right_answers(start: Callable[[str], Server]) -> None:
    server = start("model.onnx")
    requests = [factories.body(user, [user, user + 1, 2]) for user in range(32)]
    alone = [server.ask(request)[0].body["scores"] for request in requests]
    requests[17] = factories.body(17, ["seventeen"])
    answers = server.ask(*requests)
    assert [answer.status for answer in answers] == [200] * 17 + [422] + [200] * 14
    for place, answer in enumerate(answers):
        if place != 17:
            assert answer.body["scores"] == pytest.approx(alone[place], abs=1e-6)
