"""What an archive declares that it answers: read, checked, and as JSON Schema."""

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from marloft.contract.response import (
    FIELDS,
    ClassificationResponse,
    EmbeddingResponse,
    ObjectResponse,
    RankingResponse,
    RegressionResponse,
    Response,
    faults,
    label_texts,
    properties,
    type_of,
)

NESTED = {"$defs": {"n": {"type": "number"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
ALL: list[Response] = [
    RankingResponse(),
    ClassificationResponse(labels=["a", "b"], top=1),
    RegressionResponse(interval=0.9),
    EmbeddingResponse(dimension=2),
    ObjectResponse(schema=NESTED),
]


@pytest.mark.parametrize("response", ALL, ids=type_of)
def test_declaration_reads_back_as_itself(response: Response) -> None:
    assert msgspec.json.decode(msgspec.json.encode(response), type=Response) == response
    assert faults(response) == []
    assert set(properties(response)) == set(FIELDS[type_of(response)])


@pytest.mark.parametrize("response", ALL, ids=type_of)
def test_properties_are_json_schema(response: Response) -> None:
    Draft202012Validator.check_schema({"properties": properties(response)})


def test_references_of_an_embedded_schema_are_its_own() -> None:
    validator = Draft202012Validator({"properties": properties(ALL[-1])})
    assert validator.is_valid({"prediction": [{"a": 1}]})
    assert not validator.is_valid({"prediction": [{"a": "1"}]})


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (ClassificationResponse(labels=["1", 1]), "labels: '1' occurs twice"),
        (ClassificationResponse(labels=["a"], top=2), "top: 2 is more than the 1 labels"),
        (ObjectResponse(schema={"type": "objct"}), "schema.type: 'objct'"),
        (ObjectResponse(schema={"$ref": "http://x/y"}), "schema: $ref 'http://x/y' leads out"),
        (ObjectResponse(schema={"properties": {"a": {"minimum": "1"}}}), "schema.properties.a"),
    ],
)
def test_declaration_that_makes_no_sense_is_told(response: Response, found: str) -> None:
    assert faults(response)[0].startswith(found)


@pytest.mark.parametrize(
    "text",
    [
        "{type: rankings}",
        "{}",
        "{type: classification}",
        "{type: classification, labels: []}",
        "{type: embedding, dimension: 0}",
        "{type: regression, interval: 1.5}",
        "{type: regression, per: item}",
        "{type: ranking, per: row}",
    ],
)
def test_form_that_is_not_allowed_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.yaml.decode(text, type=Response)


def test_labels_as_keys_are_those_of_json() -> None:
    labels: list[Any] = [True, 7, "x"]
    assert label_texts(labels) == ["true", "7", "x"]
