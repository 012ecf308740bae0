"""An archive's own interface, as documents that other tools read."""

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from referencing.exceptions import Unresolvable

from harness import factories
from marloft.archive.openapi import openapi_of
from marloft.archive.pack import write_archive
from marloft.errors import ArchiveError

CONFIGS = ("ranker_v1", "outcomes", "feed_ab_assign")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    for name in CONFIGS:
        write_archive(project / "archive_configs" / f"{name}.yaml", project / "model_store")
    return project / "model_store"


def _schema(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("schema.json"))


def test_document_of_every_kind_of_archive_is_valid(store: Path) -> None:
    archives = sorted(store.glob("*.mar"))
    assert len(archives) == len(CONFIGS)
    for path in archives:
        validate(openapi_of(path))


def test_an_invalid_document_is_noticed(store: Path) -> None:
    broken = copy.deepcopy(openapi_of(store / "ranker-1.0.mar"))
    broken["paths"]["/models/ranker/predict"]["post"]["requestBody"] = {"contents": {}}
    with pytest.raises(OpenAPIValidationError):
        validate(broken)


def test_example_is_one_that_the_schema_admits(store: Path) -> None:
    document = openapi_of(store / "ranker-1.0.mar")
    content = document["paths"]["/models/ranker/predict"]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"]
    features = document["components"]["schemas"]["RequestEnvelope"]["properties"]["features"]
    jsonschema.validate(example["features"], features, cls=jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{"item": 1}], features, cls=jsonschema.Draft202012Validator)


def test_row_schema_is_json_schema_2020_12(store: Path) -> None:
    schema = _schema(store / "ranker-1.0.mar")
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    jsonschema.Draft202012Validator.check_schema(schema)
    schema["items"]["properties"]["item_id"]["type"] = "whole"
    with pytest.raises(jsonschema.SchemaError):
        jsonschema.Draft202012Validator.check_schema(schema)


def test_patterns_are_ecma_regular_expressions(store: Path) -> None:
    text = json.dumps(openapi_of(store / "ranker-1.0.mar"))
    assert "\\\\Z" not in text
    assert "{1,128}$" in text


def test_file_that_is_no_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.mar").write_bytes(b"x")
    with pytest.raises(ArchiveError):
        openapi_of(tmp_path / "x.mar")


LENS = """\
name: lens
version: "1.0"
handler: lens.py
schema:
  row: {n: {type: integer}}
  parameters:
    top_k: {type: integer, minimum: 1, description: How many., default: 10}
    words: {type: array, items: {type: string}}
"""


def test_parameters_are_listed_each_way_that_they_may_come(tmp_path: Path) -> None:
    (tmp_path / "lens.yaml").write_text(LENS)
    (tmp_path / "lens.py").write_text(
        "from marloft.serving import Handler\n\n\nclass Lens(Handler):\n    pass\n"
    )
    write_archive(tmp_path / "lens.yaml", tmp_path)
    document = openapi_of(tmp_path / "lens-1.0.mar")
    validate(document)
    listed = document["paths"]["/models/lens/predict"]["post"]["parameters"]
    assert [(each["in"], each["name"]) for each in listed] == [
        ("query", "top_k"),
        ("header", "x-parameter-top-k"),
        ("query", "words"),
        ("header", "x-parameter-words"),
    ]
    assert listed[0]["description"] == "How many."
    assert listed[0]["schema"]["minimum"] == 1
    assert listed[2]["content"]["application/json"]["schema"]["type"] == "array"
    body = document["components"]["schemas"]["RequestEnvelope"]
    asked = {"features": [{"n": 1}], "parameters": {"top_k": 3}}
    checker = jsonschema.Draft202012Validator({**body, "components": document["components"]})
    checker.validate(asked)
    with pytest.raises(jsonschema.ValidationError):
        checker.validate(asked | {"parameters": {"top_k": 0}})
    assert "$defs" not in body["properties"]["features"]


def test_document_without_parameters_lists_none(store: Path) -> None:
    document = openapi_of(store / "ranker-1.0.mar")
    assert "parameters" not in document["paths"]["/models/ranker/predict"]["post"]
    body = document["components"]["schemas"]["RequestEnvelope"]["properties"]
    assert "parameters" not in body


TREE = """\
name: tree
version: "1.0"
handler: tree.py
response:
  type: object
  PER
  schema:
    $id: https://example.com/tree
    $ref: "#/$defs/node"
    $defs:
      node:
        type: object
        required: [name]
        additionalProperties: false
        properties:
          name: {type: string, pattern: ^a}
          $ref: {type: string}
          children: {type: array, items: {$ref: "#/$defs/node"}}
schema: {row: {n: {type: integer}}}
"""


@pytest.mark.parametrize("per", ["row", "request"])
def test_references_of_an_answers_schema_are_resolved_by_readers_of_openapi(
    tmp_path: Path, per: str
) -> None:
    (tmp_path / "tree.yaml").write_text(TREE.replace("PER", f"per: {per}"))
    (tmp_path / "tree.py").write_text(
        "from marloft.serving import Handler\n\n\nclass Tree(Handler):\n    pass\n"
    )
    write_archive(tmp_path / "tree.yaml", tmp_path)
    document = openapi_of(tmp_path / "tree-1.0.mar")
    validate(document)
    answer = document["components"]["schemas"]["PredictResponse"]
    checker = jsonschema.Draft202012Validator({**answer, "components": document["components"]})
    rest = {"latency_ms": 1.0, "model_version": "v1.0", "request_id": "r"}
    for children, good in (([{"name": "ab"}], True), ([{"name": "b"}], False)):
        entry = {"name": "a", "$ref": "x", "children": children}
        prediction = [entry] if per == "row" else entry
        assert checker.is_valid({"prediction": prediction, **rest}) == good
    unresolved = json.loads(json.dumps(document).replace("/Entry/$defs/node", "/Entry/$defs/nod"))
    with pytest.raises(Unresolvable):
        validate(unresolved)
