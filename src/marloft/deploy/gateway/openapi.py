"""The gateway's HTTP interface as an OpenAPI 3.1 document, its schemas from the contract's types.

    python -m marloft.deploy.gateway.openapi > docs/openapi.yaml

https://spec.openapis.org/oas/v3.1.1.html
"""

import sys
from typing import Any

import msgspec

from marloft.archive.openapi import ecma_patterns
from marloft.contract.outcome_api import Outcome, OutcomeAccepted
from marloft.contract.parameters import HEADER_PREFIX
from marloft.contract.predict_api import (
    PROBLEM_JSON,
    REQUEST_ID_HEADER,
    USER_HEADER,
    VERSION_HEADER,
    Health,
    PredictResponse,
    Problem,
    RequestEnvelope,
)
from marloft.contract.schema import RowSchema
from marloft.deploy.gateway.bootstrap import MAX_BODY_BYTES
from marloft.deploy.ports import Ports
from marloft.version import __version__

Json = dict[str, Any]

_TYPES = (RequestEnvelope, PredictResponse, Problem, Health, Outcome, OutcomeAccepted)
_REF = "#/components/schemas/{name}"
_PLAIN_ID = "^[A-Za-z0-9._:@-]{1,128}$"
_REFUSALS = {
    400: "The body is not JSON, a header or the query contradicts it, or the URL has query "
    "parameters that the model does not declare.",
    404: "Unknown model, version or path; the detail lists those that exist.",
    405: "Another method; no other path of this document answers it either.",
    413: f"The body is larger than {MAX_BODY_BYTES:,} bytes.",
    415: "The content type is not application/json.",
    422: "A field is missing, mistyped or unknown; errors[].pointer says where (RFC 6901).",
    429: "More requests in a second than the model takes from one client or from all of them.",
    500: "The handler failed on this request; its log record has the cause. Not tried again.",
    503: "A version is not ready or has more requests than it can answer in time, its log cannot "
    "be written, or the model server is away.",
    504: "The model server did not answer in time.",
}
_RETRIED = (429, 503, 504)


def openapi() -> Json:
    """Return the document; the same contract gives the same document."""
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "marloft gateway",
            "version": __version__,
            "description": "Predictions, health and outcomes; docs/api.md has examples.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"http://localhost:{Ports().gateway}"}],
        "paths": {
            "/predict": {"post": _predict("predict", "Ask the default model.")},
            "/models/{name}/predict": {
                "post": _predict("predictByModel", "Ask any deployed model.", _MODEL_NAME)
            },
            "/health": {"get": _health()},
            "/outcomes": {"post": _outcomes()},
        },
        "components": {
            "schemas": _schemas(),
            "responses": {f"Problem{status}": _problem(status) for status in _REFUSALS},
        },
    }


def _predict(name: str, summary: str, *more: Json) -> Json:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [*more, *_CLIENT_HEADERS],
        "requestBody": _body("RequestEnvelope"),
        "responses": {"200": _answer("The candidates, best first.", "PredictResponse")}
        | _refusals(400, 404, 405, 413, 415, 422, 429, 500, 503, 504),
    }


def _health() -> Json:
    return {
        "operationId": "health",
        "summary": "Ask the default version's own queue and worker for a prediction.",
        "responses": {"200": _answer("A prediction went through.", "Health")}
        | _refusals(400, 405, 503),
    }


def _outcomes() -> Json:
    return {
        "operationId": "outcome",
        "summary": "Say what a user did with an answer or an item of it, or what was true.",
        "requestBody": _body("Outcome"),
        "responses": {"202": _answer("The outcome is in the log.", "OutcomeAccepted")}
        | _refusals(400, 405, 413, 415, 422, 429, 503, 504),
    }


def _schemas() -> Json:
    """Return the contract's types as JSON Schema 2020-12, features included."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    rows = {field.name: field.default for field in msgspec.structs.fields(RowSchema)}["max_rows"]
    schemas["RequestEnvelope"]["properties"]["features"] = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "object"},
        "description": "One row per candidate; the fields and the largest number of rows "
        f"({rows} unless the archive says otherwise) are those of the archive's schema.json.",
    }
    schemas["RequestEnvelope"]["properties"]["parameters"] = {
        "type": "object",
        "description": "What the archive's schema.json declares beside the rows; unknown to an "
        "archive that declares nothing. Each may come in the query or in a header "
        f"{HEADER_PREFIX}NAME instead.",
    }
    found: Json = ecma_patterns(schemas)
    return found


def _body(schema: str) -> Json:
    return {"required": True, "content": _content("application/json", schema)}


def _answer(description: str, schema: str) -> Json:
    headers = {REQUEST_ID_HEADER: {"schema": {"type": "string"}, "description": "As in the log."}}
    return {
        "description": description,
        "headers": headers,
        "content": _content("application/json", schema),
    }


def _problem(status: int) -> Json:
    response: Json = {
        "description": _REFUSALS[status],
        "content": _content(PROBLEM_JSON, "Problem"),
    }
    if status in _RETRIED:
        seconds = {"type": "integer", "minimum": 0}
        response["headers"] = {
            "Retry-After": {"schema": seconds, "description": "Seconds; from the gateway."}
        }
    return response


def _refusals(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}


def _content(media_type: str, schema: str) -> Json:
    return {media_type: {"schema": {"$ref": _REF.format(name=schema)}}}


def _header(name: str, description: str, pattern: str) -> Json:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "description": description, "schema": schema}


_MODEL_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_CLIENT_HEADERS = (
    _header(USER_HEADER, "In place of user_id in the body.", _PLAIN_ID),
    _header(VERSION_HEADER, "In place of model_version in the body.", r"^v?[0-9]+\.[0-9]+$"),
    _header(REQUEST_ID_HEADER, "In place of request_id in the body.", _PLAIN_ID),
)


def main() -> None:
    """Print the document as YAML."""
    sys.stdout.buffer.write(msgspec.yaml.encode(openapi()))


if __name__ == "__main__":
    main()
