"""What one archive answers over HTTP, as an OpenAPI 3.1 document.

https://spec.openapis.org/oas/v3.1.1.html
"""

import zipfile
from pathlib import Path
from typing import Any

import msgspec

from marloft.archive.manifest import read_manifest
from marloft.contract.manifest import GOLDEN_JSONL, SCHEMA_JSON, Manifest
from marloft.contract.parameters import header_of
from marloft.contract.predict_api import PROBLEM_JSON, PredictResponse, Problem, RequestEnvelope
from marloft.contract.response import FIELDS, ObjectResponse, Response, properties
from marloft.contract.schema import DIALECT, RowSchema, parameters_schema, to_json_schema
from marloft.errors import ArchiveError

Json = dict[str, Any]
JSON_TYPE = "application/json"
_BY_TYPE = {field for fields in FIELDS.values() for field in fields}
_REF = "#/components/schemas/{name}"
_ENTRY = _REF.format(name="Entry")


def openapi_of(path: Path) -> Json:
    """Return the document of the archive's own path at the gateway, `/models/<name>/predict`.

    The features are those of its `schema.json`, the example is its first golden request. The same
    archive gives the same document; nothing in it names a time or a host.

    Raises:
        ArchiveError: the file is no archive of marloft's.
        ConfigError: its `archive.json` does not have the expected form.
    """
    manifest = read_manifest(path)
    try:
        with zipfile.ZipFile(path) as archive:
            held = archive.namelist()
            schema = archive.read(SCHEMA_JSON) if SCHEMA_JSON in held else None
            golden = archive.read(GOLDEN_JSONL) if GOLDEN_JSONL in held else b""
        features = None if schema is None else msgspec.json.decode(schema, type=Json)
        examples = [msgspec.json.decode(line, type=Json) for line in golden.splitlines()[:1]]
    except (zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise ArchiveError(f"{path}: {error}; `marloft verify {path}` shows more.") from None
    return {
        "openapi": "3.1.1",
        "info": {"title": manifest.name, "version": manifest.version},
        "paths": {
            f"/models/{manifest.name}/predict": {"post": _predict(manifest, features, examples)}
        },
        "components": {"schemas": _schemas(features, manifest.declared_response)},
    }


def _predict(manifest: Manifest, features: Json | None, examples: list[Json]) -> Json:
    described = features is not None
    return {
        "operationId": "predict",
        "summary": f"Ask {manifest.name} {manifest.version}.",
        **_parameters(features),
        "requestBody": {
            "required": True,
            "content": {each: _body(each, described, examples) for each in manifest.accepts},
        },
        "responses": {
            # The answer of code that reads its bodies by itself is its own matter too.
            "200": {"description": "The answer.", "content": {JSON_TYPE: _schema(described)}},
            "default": {
                "description": "A refusal, as problem details (RFC 9457).",
                "content": {PROBLEM_JSON: {"schema": {"$ref": _REF.format(name="Problem")}}},
            },
        },
    }


def _parameters(features: Json | None) -> Json:
    """Return what may come in a query or a header, nothing without declared parameters."""
    declared = parameters_schema(features) if features else None
    listed = [
        _parameter(place, written, each | {"description": f"In place of parameters.{name}."} | each)
        for name, each in (declared or {"properties": {}})["properties"].items()
        for place, written in (("query", name), ("header", header_of(name)))
        if _kind(each) != "object"
    ]
    return {"parameters": listed} if listed else {}


def _parameter(place: str, name: str, schema: Json) -> Json:
    described: Json = {"name": name, "in": place, "description": schema["description"]}
    if _kind(schema) == "array":
        return described | {"content": {JSON_TYPE: {"schema": schema}}}
    return described | {"schema": schema}


def _kind(schema: Json) -> Any:
    """Return the type of a property; null stands last."""
    declared = schema["type"]
    return declared if isinstance(declared, str) else declared[0]


def _body(media_type: str, described: bool, examples: list[Json]) -> Json:
    if media_type != JSON_TYPE:
        # In OpenAPI 3.1 a body of raw bytes is one without a schema.
        return {}
    if not described:
        return {"schema": {}}
    body: Json = {"schema": {"$ref": _REF.format(name="RequestEnvelope")}}
    for example in examples:
        body["example"] = example["request"]
    return body


def _schema(described: bool) -> Json:
    return {"schema": {"$ref": _REF.format(name="PredictResponse")} if described else {}}


def request_document(schema: RowSchema, title: str) -> Json:
    """Return the JSON Schema 2020-12 of a request's body, called `title`."""
    body: Json = _schemas(to_json_schema(schema), None)["RequestEnvelope"]
    return {"$schema": DIALECT} | body | {"title": title}


def _schemas(features: Json | None, response: Response | None) -> Json:
    types = (Problem,) if features is None else (RequestEnvelope, PredictResponse, Problem)
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    if features is not None:
        rows = {key: value for key, value in features.items() if key not in ("$schema", "$defs")}
        members = schemas["RequestEnvelope"]["properties"]
        members["features"] = rows
        declared = parameters_schema(features)
        if declared is not None:
            # None is required here: it may come in the query or a header instead.
            members["parameters"] = {k: v for k, v in declared.items() if k != "required"}
        if response is not None:
            schemas["PredictResponse"] = _declared(schemas["PredictResponse"], response)
        if isinstance(response, ObjectResponse):
            schemas["Entry"] = _in_document(
                {key: part for key, part in response.schema.items() if key != "$id"}
            )
    found: Json = ecma_patterns(schemas)
    return found


def _declared(answer: Json, response: Response) -> Json:
    """Return the answer's schema with the parts that the declared type has, and no others."""
    own = properties(response)
    if isinstance(response, ObjectResponse):
        entry = {"$ref": _ENTRY}
        own["prediction"] = {"type": "array", "items": entry} if response.per == "row" else entry
    kept = {k: v for k, v in answer["properties"].items() if k not in _BY_TYPE or k in own}
    return {
        **answer,
        "properties": {**kept, **own},
        "required": [*own, *(each for each in answer["required"] if each not in own)],
    }


def _in_document(value: Any) -> Any:
    """Let the references of a user's schema lead to where it stands in the document.

    An `$id` of its own would do by JSON Schema, but readers of OpenAPI resolve every `#/…` from the
    document's root. A part that has an `$id` resolves its own.
    """
    if isinstance(value, dict) and "$id" not in value:
        return {
            # A field may be called "$ref" too; its schema is no text.
            key: _ENTRY + part[1:]
            if key == "$ref" and isinstance(part, str) and (part == "#" or part[:2] == "#/")
            else _in_document(part)
            for key, part in value.items()
        }
    return [_in_document(part) for part in value] if isinstance(value, list) else value


def ecma_patterns(value: Any) -> Any:
    r"""Write Python's end of text, `\Z`, as JSON Schema's regular expressions do: `$`."""
    if isinstance(value, dict):
        return {
            # A field may be called "pattern" too.
            key: part.replace(r"\Z", "$")
            if key == "pattern" and isinstance(part, str)
            else ecma_patterns(part)
            for key, part in value.items()
        }
    return [ecma_patterns(part) for part in value] if isinstance(value, list) else value
