"""Five models of different kinds, from an empty folder to a served, logged, replayed answer.

Their files are in `tests/five_models`, written as a user would from the pages alone.
"""

import base64
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import httpx2
import jsonschema
import pytest
from openapi_spec_validator import validate

from harness.factories import REPOSITORY
from harness.serving import MARLOFT
from marloft.archive.golden_comparison import difference
from marloft.archive.spec import parse_spec
from tests.code_lines import code_lines
from tests.e2e.running import Serving, marloft

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
SOURCE = REPOSITORY / "tests" / "five_models"
MODELS = ("churn", "deliveries", "photos", "rent", "sentences")
MOST_LINES = 60
# What the type of each answer has, and nothing else beside what every answer has.
FIELDS = {
    "churn": {"prediction", "confidence", "probabilities"},
    "deliveries": {"prediction"},
    "photos": {"prediction", "confidence", "probabilities"},
    "rent": {"prediction", "interval"},
    "sentences": {"prediction"},
}
TYPES = {
    "churn": "classification",
    "deliveries": "object",
    "photos": "classification",
    "rent": "regression",
    "sentences": "embedding",
}
EVERY = {"latency_ms", "model_version", "request_id"}
DEPLOYMENT = "default_model: churn\nmodels:\n" + "".join(
    f'  {model}: {{versions: {{"1.0": {{}}}}, default: "1.0"}}\n' for model in MODELS
)
CUSTOMER = {"age": 30, "newsletter": True, "monthly-fee": 20, "plan": "free", "country": "de"}
# Rows with a mistake, the place that is told, and whether JSON Schema can say it too.
MISTAKES: list[tuple[str, list[Json], str, bool]] = [
    ("churn", [CUSTOMER, CUSTOMER | {"options": ["phone", "fax"]}], "/1/options/1", True),
    ("churn", [CUSTOMER | {"fee": 20}], "/0/fee", True),
    ("churn", [CUSTOMER | {"plan": None}], "/0/plan", True),
    ("deliveries", [{"km": 1, "day": 0, "parcel": {"kilos": "1"}}], "/0/parcel/kilos", True),
    ("photos", [{"photo": base64.b64encode(b"no photo").decode()}], "/0/photo", False),
    ("rent", [{"rooms": 3.3, "area": 60}], "/0/rooms", True),
    ("sentences", [{"text": "Salt the dough"}, {"text": " "}], "/1/text", False),
]


class Asked(NamedTuple):
    """A request of a golden file, the answer of the gateway, and what the source answered."""

    body: Json
    answer: Json
    expected: Json


def _prepare(project: Path, model: str) -> str:
    """Take one model from its files to a verified archive; return what the commands printed."""
    shutil.copytree(
        SOURCE / model, project / model, ignore=shutil.ignore_patterns("build", "__*", "*.pt")
    )
    commands = [
        f"{sys.executable} train.py",
        f"{MARLOFT} golden record archive.yaml --requests requests.jsonl --source train.py:answer",
        f"{MARLOFT} pack archive.yaml --out ../model_store",
        f"{MARLOFT} verify ../model_store/{model}-1.0.mar --replay --trust",
    ]
    printed = ""
    # One thread: on a busy machine the training's threads would wait for each other.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for command in commands:
        done = subprocess.run(
            shlex.split(command),
            cwd=project / model,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    return printed


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The project with five verified archives, and what each model's commands printed."""
    folder = tmp_path_factory.mktemp("five")
    marloft(folder, "new", "shop")
    project = folder / "shop"
    (project / "deployment.yaml").write_text(DEPLOYMENT)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        printed = pool.map(lambda model: _prepare(project, model), MODELS)
        return project, dict(zip(MODELS, printed, strict=True))


@pytest.fixture(scope="module")
def serving(prepared: tuple[Path, dict[str, str]]) -> Iterator[Serving]:
    project, _ = prepared
    marloft(project, "apply")
    with Serving(project) as running:
        yield running


@pytest.fixture(scope="module")
def asked(serving: Serving) -> dict[str, list[Asked]]:
    """The golden requests of each model, asked of the gateway as JSON."""
    return {model: [*_golden_asked(serving, model)] for model in MODELS}


def _golden_asked(serving: Serving, model: str) -> Iterator[Asked]:
    lines = (serving.project / model / "build" / "golden.jsonl").read_text().splitlines()
    for number, line in enumerate(lines):
        golden = json.loads(line)
        body = golden["request"] | {"request_id": f"{model}-{number}"}
        yield Asked(body, _answer(_ask(serving, model, body)), golden["expected"])


def _ask(serving: Serving, model: str, body: Json) -> httpx2.Response:
    return serving.client.post(f"/models/{model}/predict", json=body)


def _answer(response: httpx2.Response) -> Json:
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


def _told(answer: Json) -> Json:
    """Return the part of an answer that depends on the question alone."""
    return {key: value for key, value in answer.items() if key not in EVERY}


@pytest.fixture(scope="module")
def records(asked: dict[str, list[Asked]], serving: Serving) -> dict[str, Json]:
    """What `marloft log tail` shows of the golden requests, by their ids."""
    lines = marloft(serving.project, "log", "tail", "--json", "-n", "1000").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {record["request_id"]: record for record in found}


@pytest.mark.parametrize("model", MODELS)
def test_user_writes_at_most_60_lines(model: str) -> None:
    folder = SOURCE / model
    assert {path.name for path in folder.glob("*.py")} == {"handler.py", "train.py"}
    yaml = [line.strip() for line in (folder / "archive.yaml").read_text().splitlines()]
    written = sum(bool(line) and not line.startswith("#") for line in yaml)
    written += sum(code_lines(path) for path in folder.glob("*.py"))
    assert 0 < written <= MOST_LINES


@pytest.mark.parametrize("model", MODELS)
def test_archive_repeats_what_the_source_answered(
    prepared: tuple[Path, dict[str, str]], model: str
) -> None:
    printed = prepared[1][model]
    count = 3 if model == "photos" else 2
    assert f"{count} golden answers recorded from train.py:answer" in printed
    assert f"{count} golden answers repeated alone" in " ".join(printed.split())
    assert f"{count} golden answers repeated in one batch" in " ".join(printed.split())


@pytest.mark.parametrize("model", MODELS)
def test_served_answer_is_the_sources_in_the_declared_form(
    asked: dict[str, list[Asked]], model: str
) -> None:
    spec = parse_spec(SOURCE / model / "archive.yaml")
    assert len(asked[model]) >= 2
    for each in asked[model]:
        assert each.answer.keys() == FIELDS[model] | EVERY
        assert each.expected.keys() == FIELDS[model]
        found = difference(each.expected, each.answer, spec.golden_tolerance, spec.response)
        assert found is None
        if model != "photos":
            assert len(each.answer["prediction"]) == len(each.body["features"])
    # Another question's answer is not taken for it.
    first, *_, last = asked[model]
    assert difference(last.expected, first.answer, spec.golden_tolerance, spec.response)


@pytest.mark.parametrize("model", MODELS)
def test_answer_is_logged_and_the_logged_request_has_it_again(
    asked: dict[str, list[Asked]], records: dict[str, Json], serving: Serving, model: str
) -> None:
    for each in asked[model]:
        record = records[each.body["request_id"]]
        assert (record["model"], record["status"]) == (model, 200)
        assert record["response"] == TYPES[model]
        assert record["features"] == each.body["features"]
        logged = {field: record.get(field) for field in FIELDS[model]}
        assert logged == _told(each.answer)
        again: Json = {"features": record["features"]}
        if "parameters" in record:
            again["parameters"] = record["parameters"]
        assert _told(_answer(_ask(serving, model, again))) == _told(each.answer)
    assert [records[f"photos-{number}"]["parameters"]["threshold"] for number in range(3)] == [
        *(0.5, 0.5, 0.99)
    ]


def test_export_of_the_log_has_each_answer(asked: dict[str, list[Asked]], serving: Serving) -> None:
    marloft(serving.project, "log", "export", "build/log.parquet")
    file = str(serving.project / "build" / "log.parquet")
    query = "select request_id, model, response, prediction::varchar from read_parquet(?)"
    with duckdb.connect() as connection:
        rows = connection.execute(f"{query} where status = 200", [file]).fetchall()
    exported = {request: (model, kind, json.loads(text)) for request, model, kind, text in rows}
    for model, all_of_it in asked.items():
        for each in all_of_it:
            wanted = (model, TYPES[model], each.answer["prediction"])
            assert exported[each.body["request_id"]] == wanted


def test_one_request_is_followed_to_its_worker(
    asked: dict[str, list[Asked]], serving: Serving
) -> None:
    printed = marloft(serving.project, "trace", asked["rent"][0].body["request_id"])
    assert re.search(r"^answer +regression", printed, re.MULTILINE)
    assert "missing" not in printed


@pytest.mark.parametrize(("model", "rows", "place", "in_schema"), MISTAKES)
def test_mistake_is_refused_with_its_place(
    serving: Serving, model: str, rows: list[Json], place: str, in_schema: bool
) -> None:
    refused = _ask(serving, model, {"features": rows})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [f"/features{place}"]
    checker = _checker(serving.project, model, "RequestEnvelope")
    assert checker.is_valid({"features": rows}) != in_schema
    assert _checker(serving.project, model, "Problem").is_valid(refused.json())


def test_jpeg_takes_its_parameter_three_ways(
    asked: dict[str, list[Asked]], serving: Serving
) -> None:
    _, plain, strict = asked["photos"]
    assert (plain.answer["prediction"], strict.answer["prediction"]) == ("night", "day")
    jpeg = base64.b64decode(plain.body["features"][0]["photo"])
    sent: list[tuple[str, dict[str, str], Asked]] = [
        ("", {}, plain),
        ("?threshold=0.99", {}, strict),
        ("", {"x-parameter-threshold": "0.99"}, strict),
    ]
    for query, headers, same in sent:
        response = serving.client.post(
            f"/models/photos/predict{query}",
            content=jpeg,
            headers={"content-type": "image/jpeg", **headers},
        )
        assert _told(_answer(response)) == _told(same.answer)
    refused = serving.client.post(
        "/models/photos/predict?threshold=2", content=jpeg, headers={"content-type": "image/jpeg"}
    )
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/parameters/threshold"]


def _document(project: Path, model: str) -> Json:
    """Return what `marloft inspect --openapi` prints; it is read once a model."""
    kept = project / model / "build" / "openapi.json"
    if not kept.exists():
        kept.write_text(marloft(project, "inspect", f"{model}@1.0", "--openapi"))
    document: Json = json.loads(kept.read_text())
    return document


def _checker(project: Path, model: str, schema: str) -> Any:
    """Return a validator of one of the components of the archive's own document."""
    components = _document(project, model)["components"]
    return jsonschema.Draft202012Validator(
        {**components["schemas"][schema], "components": components}
    )


@pytest.mark.parametrize("model", MODELS)
def test_archives_own_openapi_document_holds_for_requests_and_answers(
    asked: dict[str, list[Asked]], serving: Serving, model: str
) -> None:
    validate(_document(serving.project, model))
    requests = _checker(serving.project, model, "RequestEnvelope")
    answers = _checker(serving.project, model, "PredictResponse")
    for each in asked[model]:
        requests.validate(each.body)
        answers.validate(each.answer)
        for field in FIELDS[model]:
            assert not answers.is_valid(each.answer | {field: {"made": "up"}})
            assert not answers.is_valid({k: v for k, v in each.answer.items() if k != field})


def test_archive_holds_no_source_model(prepared: tuple[Path, dict[str, str]]) -> None:
    for model in MODELS:
        with zipfile.ZipFile(prepared[0] / "model_store" / f"{model}-1.0.mar") as archive:
            assert not {"train.py", "weights.pt", "model.pickle"} & {*archive.namelist()}


# What stands in `wrong.yaml`, what is said of it, and what to write, as the message says.
FAULTS = [
    ("version: 1.0\n", 'write `version: "1.0"`', 'version: "1.0"\n'),
    ("leaves, stays]", "response.labels: 'stays' occurs twice", "leaves]"),
    ("[int, null]", "row.age.type[0] is 'int', must be one of", "[integer, null]"),
    ("number, nullable: true", "Write null into the type: `type: [", "[number, null]"),
    ("min: 0", "unknown key 'min' at schema.row.visits. Did you mean 'minimum'?", "minimum: 0"),
    ("[float, null]", "row.idle_days.type[0] is 'float', must be one of", "[number, null]"),
    ("minimum: 1, maximum: 0", "no value has minimum 1 and maximum 0", "minimum: 0, maximum: 1"),
    ("4, 5]", "row.stars.enum leaves null out, which the type allows", "4, 5, null]"),
    (", required: true", "leave `required` out", ""),
    ("monthly-fee: {type: number, exclusiveMinimum: 0", "alias: monthly-fee}`",
     "fee: {type: number, exclusiveMinimum: 0, alias: monthly-fee"),
    ("type: enum,", "row.plan.type is 'enum', must be one of", "type: string,"),
    ("values: [", "unknown key 'values' at schema.row.plan. Did you mean 'enum'?", "enum: ["),
    ("country: {enum", "row.country lacks 'type'", "country: {type: [string, null], enum"),
    ("maxItems: 500", "write `maxLength: 500`", "maxLength: 500"),
    ("type: list,", "write `type: array", "type: array,"),
]  # fmt: skip
# Two defaults that fit their fields once the fields are right.
FOLLOWING = ("schema.row.income.default", "schema.row.discount.default")


def test_first_schema_of_twelve_fields_is_told_all_its_faults_at_once(tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "churn", tmp_path / "churn")
    config = tmp_path / "churn" / "wrong.yaml"
    first, *lines, _ = marloft(tmp_path, "pack", config, code=2).splitlines()
    assert first == f"marloft: {config}: {len(lines)} errors:"
    assert len(parse_spec(SOURCE / "churn" / "archive.yaml").schema.row) == 12  # type: ignore[union-attr]
    cured = config.read_text()
    for wrong, said, right in FAULTS:
        (line,) = [each for each in lines if said in each]
        lines.remove(line)
        assert cured.count(wrong) == 1
        cured = cured.replace(wrong, right)
    assert [line.split()[0] for line in lines] == [*FOLLOWING]
    # One round: what is left is the right file.
    assert cured == (SOURCE / "churn" / "archive.yaml").read_text()
