"""The OpenAPI document: valid, committed as generated, and about the paths that are routed."""

import copy

import msgspec
import pytest
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from harness.factories import REPOSITORY
from marloft.contract.predict_api import PredictResponse
from marloft.deploy.gateway.openapi import openapi


def test_committed_document_is_the_generated_one() -> None:
    committed = (REPOSITORY / "docs" / "openapi.yaml").read_bytes()
    assert committed == msgspec.yaml.encode(openapi()), (
        "python -m marloft.deploy.gateway.openapi > docs/openapi.yaml"
    )


def test_document_is_valid() -> None:
    validate(openapi())


def test_a_misspelt_key_of_the_specification_is_noticed() -> None:
    broken = copy.deepcopy(openapi())
    operation = broken["paths"]["/predict"]["post"]
    operation["respones"] = operation.pop("responses")
    broken["paths"]["/predict"]["post"]["requestBody"] = {"contents": {}}
    with pytest.raises(OpenAPIValidationError):
        validate(broken)


def test_schemas_are_those_of_the_contract() -> None:
    schema = openapi()["components"]["schemas"]["PredictResponse"]
    assert list(schema["properties"]) == list(PredictResponse.__struct_fields__)


def test_patterns_are_ecma_regular_expressions() -> None:
    text = msgspec.json.encode(openapi()).decode()
    assert "\\\\Z" not in text
    assert "{0,62}$" in text
