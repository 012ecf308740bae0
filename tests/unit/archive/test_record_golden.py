"""Golden answers come from the source model; what could not be compared later is refused."""

import importlib
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import factories
from marloft.archive.record_golden import record_golden
from marloft.archive.user_code import UserCodeError
from marloft.contract.manifest import GoldenAnswer
from marloft.errors import ConfigError

# It answers by NumPy alone, as a source model outside every runtime does.
SOURCE = """
import itertools
import numpy as np
from harness.factories import score

def answer(body):
    items = [row["item_id"] for row in body["features"]]
    scores = np.array(score(body.get("user_id"), items))
    return {"scores": scores, "prediction": np.array(items)[np.argsort(-scores)]}

calls = itertools.count()

def dropout(body):
    return {"scores": [float(next(calls)) for _ in body["features"]]}

def typo(body):
    return {"score": 1.0}

def nothing(body):
    return None

def infinite(body):
    return {"scores": [float("inf") for _ in body["features"]]}

def short(body):
    return {"scores": []}

def strange(body):
    return {"prediction": object}

variable = 3
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = factories.write_project(tmp_path)
    (project / "source.py").write_text(SOURCE)
    requests = [answer.request for answer in factories.golden()]
    (project / "requests.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(requests))
    monkeypatch.syspath_prepend(str(factories.REPOSITORY))
    monkeypatch.chdir(project)
    return project


CONFIG, REQUESTS = Path("archive_configs/ranker_v1.yaml"), Path("requests.jsonl")


def test_answers_are_the_sources(project: Path) -> None:
    golden = project / "build" / "export" / "golden.jsonl"
    golden.unlink()
    recorded = record_golden(CONFIG, REQUESTS, "source.py:answer")
    assert recorded == factories.golden()
    lines = golden.read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=GoldenAnswer) for line in lines] == recorded


def test_neither_artifact_nor_handler_is_needed(project: Path) -> None:
    for name in ("build/export/model.onnx", "handlers/ranker.py"):
        (project / name).unlink()
    record_golden(CONFIG, REQUESTS, "source:answer", Path("elsewhere/golden.jsonl"))
    assert (project / "elsewhere" / "golden.jsonl").is_file()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("source.py:dropout", "asked twice, the source answers differently"),
        ("source.py:typo", "unknown field 'score' of a ranking. Did you mean 'scores'"),
        ("source.py:nothing", "returned NoneType, not a dict with prediction"),
        ("source.py:infinite", "NaN or infinity"),
        ("source.py:short", r"requests\.jsonl:1: .*/scores: \[\] should be non-empty"),
        ("source.py:strange", "answered with a type; give plain values"),
        ("source.py:variable", "no callable 'variable'"),
        ("source.py:anwser", "no callable 'anwser'. Did you mean 'answer'"),
        ("gone.py:answer", r"gone\.py does not exist"),
        ("gone:answer", "No module named 'gone'"),
        ("source.py", r"is not FILE\.py:CALLABLE"),
        ("handlers/ranker.py:rank", "is the archive's own handler"),
    ],
)
def test_source_that_is_none_is_refused(project: Path, source: str, message: str) -> None:
    golden = project / "build" / "export" / "golden.jsonl"
    before = golden.read_bytes()
    with pytest.raises(ConfigError, match=message):
        record_golden(CONFIG, REQUESTS, source)
    assert golden.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"features": [{"item_id": "x"}]}\n', "requests.jsonl: as golden.jsonl:1: the schema"),
        ("[]\n", "requests.jsonl:1: no JSON object"),
        ("", "is empty"),
    ],
)
def test_request_that_is_none_is_refused(project: Path, text: str, message: str) -> None:
    REQUESTS.write_text(text)
    with pytest.raises(ConfigError, match=message):
        record_golden(CONFIG, REQUESTS, "source.py:answer")


TYPED_SOURCE = """
import numpy as np
from marloft.serving import Classification, Regression

def answer(body):
    rows = body["features"]
    return Classification(np.array([[0.25, 0.75]] * len(rows)))

def too_few(body):
    return {"prediction": []}

def other(body):
    return Regression([1.0])


def columns(body):
    return {"probabilities": [[0.25, 0.75]]}
"""


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    config = factories.write_project(tmp_path) / "archive_configs" / "ranker_v1.yaml"
    declared = "response: {type: classification, labels: ['no', 'yes']}"
    config.write_text(config.read_text().replace("response: {type: ranking}", declared))
    (tmp_path / "source.py").write_text(TYPED_SOURCE)
    (tmp_path / "requests.jsonl").write_text('{"features": [{"item_id": 1}, {"item_id": 2}]}\n')
    return config


def test_source_may_return_what_the_handler_returns(classifier: Path, tmp_path: Path) -> None:
    source = f"{tmp_path / 'source.py'}:answer"
    (answer,) = record_golden(classifier, tmp_path / "requests.jsonl", source)
    assert answer.expected == {
        "prediction": ["yes", "yes"],
        "confidence": [0.75, 0.75],
        "probabilities": [{"no": 0.25, "yes": 0.75}] * 2,
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too_few", "jsonl:1: 0 prediction for 2 rows; give one a row"),
        ("other", "jsonl:1: the source returned Regression, but .* return a Classification"),
        ("columns", "jsonl:1: .* /probabilities/0: .* or return a Classification"),
    ],
)
def test_source_that_answers_another_type_is_refused(
    classifier: Path, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        record_golden(classifier, tmp_path / "requests.jsonl", f"{tmp_path / 'source.py'}:{name}")


FAILING = """
import sys

class Odd:
    def tolist(self):
        raise OSError("on another device")

class Interrupted(KeyboardInterrupt):
    pass

def lookup(row):
    return row["no_such_field"]

def answer(body):
    if body.get("user_id") is None:
        return {"scores": [0.0 for _ in body["features"]]}
    return {"scores": [lookup(row) for row in body["features"]]}

def exits(body):
    sys.exit("no data")

def converts(body):
    return {"scores": Odd()}

def cyclic(body):
    values = []
    values.append(values)
    return {"scores": values}

def exports(body):
    import marloft
    marloft.describe_export()

def stops(body):
    return next(iter(()))

def interrupted(body):
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "failing.py:answer",
            r"requests\.jsonl:1: failing\.py:answer fails: KeyError: 'no_such_field' "
            r"\(failing\.py:12 in lookup\); correct it, or take the request out of requests\.jsonl",
        ),
        ("failing.py:exits", r"SystemExit: no data \(failing\.py:20 in exits\)"),
        ("failing.py:converts", r"OSError: on another device \(failing\.py:6 in tolist\)"),
        ("failing.py:cyclic", r"RecursionError: .* \(failing\.py:25\); correct"),
        ("failing.py:exports", r"TypeError: describe_export.* \(failing\.py:32 in exports\)"),
        ("failing.py:stops", r"StopIteration \(failing\.py:35 in stops\)"),
        ("failing:answer", r"requests\.jsonl:1: failing:answer fails: KeyError"),
    ],
)
def test_source_that_fails_is_told_with_its_own_line_and_the_request(
    project: Path, source: str, message: str
) -> None:
    Path("failing.py").write_text(FAILING)
    with pytest.raises(UserCodeError, match=message):
        record_golden(CONFIG, REQUESTS, source)


def test_interruption_of_the_source_stays_one(project: Path) -> None:
    Path("failing.py").write_text(FAILING)
    with pytest.raises(KeyboardInterrupt):
        record_golden(CONFIG, REQUESTS, "failing.py:interrupted")


IMPORTS = {
    "syntax": ("def answer(body):\n    return (1,\n", r"SyntaxError: .* \(source\.py:2\)"),
    "exit": ("import sys\nsys.exit()\n", r"SystemExit \(source\.py:2 in <module>\); correct that "),
    "package": ("\nimport no_such_package\n", r"'no_such_package' \(source\.py:2 in <module>\)"),
    "module": ("import steps\n", r"ZeroDivisionError: .* \(steps\.py:1 in <module>\)"),
    "null": ("\0", r"null bytes"),
    "attribute": ("def __getattr__(name):\n    1 / 0\n", r"\(source\.py:2 in __getattr__\)"),
}


@pytest.mark.parametrize("kind", IMPORTS)
@pytest.mark.parametrize("source", ["source.py:answer", "source:answer"])
def test_source_that_cannot_be_imported_is_told_with_its_own_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, kind: str, source: str
) -> None:
    text, message = IMPORTS[kind]
    Path("source.py").write_text(text)
    Path("steps.py").write_text("1 / 0\n")
    # A module that an earlier test imported would not be read again.
    for name in ("source", "steps"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    with pytest.raises(UserCodeError, match=message) as raised:
        record_golden(CONFIG, REQUESTS, source)
    assert str(raised.value).startswith(f"source {source.rpartition(':')[0]} cannot be imported: ")


def test_source_may_be_a_function(classifier: Path, tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    (answer,) = record_golden(classifier, requests, lambda _: {"prediction": ["no", "yes"]})
    assert answer.expected == {"prediction": ["no", "yes"]}


def test_function_that_fails_is_named_with_its_request(classifier: Path, tmp_path: Path) -> None:
    def broken(body: dict[str, Any]) -> None:
        raise RuntimeError(f"{len(body['features'])} rows")

    with pytest.raises(UserCodeError, match=r"requests.jsonl:1: source broken fails.*2 rows"):
        record_golden(classifier, tmp_path / "requests.jsonl", broken)
