"""The ranker's handler: unknown ids take the out-of-vocabulary row and are counted."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from harness import factories
from marloft.contract.predict_api import ROUTE_HEADER
from marloft.contract.response import RankingResponse
from marloft.contract.schema import to_json_schema
from marloft.files import to_json, write_atomic
from marloft.serving import Handler
from marloft.serving.handler import runner_of
from tests.unit.serving.driver import SCHEMA, Sent, Server

ROUTE = "release=7;experiment=feed_ab;arm=treatment;version=1.0;propensity=0.5"


def handler_of(name: str) -> Handler:
    """Return the handler of a file of handlers/, loaded under a name of its own."""
    file = factories.REPOSITORY / "handlers" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_handler", file)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Handler = module.RankerHandler()
    return handler


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The real handler on the tiny archive."""
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    folder = factories.write_export(tmp_path / "archive")
    write_atomic(folder / "schema.json", to_json(to_json_schema(SCHEMA)))
    return Server(handler_of("ranker"), folder, tmp_path / "var")


@pytest.mark.parametrize("golden", factories.golden())
def test_golden_request_gets_its_golden_answer(server: Server, golden: Any) -> None:
    (answer,) = server.ask(golden.request)
    assert answer.body["scores"] == pytest.approx(golden.expected["scores"], abs=1e-5)
    assert answer.body["prediction"] == golden.expected["prediction"]


@pytest.mark.parametrize(
    ("user", "items", "unknown_user", "unknown_items"),
    [
        (7, [1, 2], False, 0),
        ("7", [1, factories.UNKNOWN_ITEM], False, 1),
        ("007", [0, 2**53 - 1], True, 2),
        ("someone", [1], True, 0),
        ("9" * 30, [1], True, 0),
        (-1, [1], True, 0),
        (None, [1], True, 0),
    ],
)
def test_unknown_ids_are_answered_and_counted(
    server: Server, user: Any, items: list[int], unknown_user: bool, unknown_items: int
) -> None:
    (answer,) = server.ask(factories.body(user, items))
    assert answer.status == 200
    known = user if not unknown_user else factories.UNKNOWN_USER
    assert answer.body["scores"] == pytest.approx(factories.score(known, items), abs=1e-5)
    extra = {"unknown_items": unknown_items, "unknown_user": unknown_user}
    assert server.records()[0]["extra"] == extra


@pytest.mark.parametrize("declared", [None, RankingResponse()])
def test_answers_are_byte_for_byte_those_of_before_responses_were_declared(
    server: Server, declared: RankingResponse | None
) -> None:
    runner_of(server.handler)._archive.response = declared
    written = (factories.EARLIER / "answers.jsonl").read_bytes().splitlines()
    for number, (golden, before) in enumerate(zip(factories.golden(), written, strict=True)):
        body = {**golden.request, "request_id": f"r-{number}"}
        headers = {ROUTE_HEADER: ROUTE} if number % 2 else None
        (answer,) = server.ask(Sent(body=body, headers=headers))
        assert re.sub(rb'"latency_ms":[0-9.]+', b'"latency_ms":0', answer.raw) == before
