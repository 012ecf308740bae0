"""What an archive answers, as its YAML file declares it under `response`, and as JSON Schema.

`type` says what an entry of `prediction` means; all but a ranking have `per`: with `row`,
`prediction` is a list with one entry per row of the request, in its order; with `request` it is the
one entry itself.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from marloft.contract import json_schema

Json = dict[str, Any]
Per = Literal["row", "request"]
Label = bool | int | str
Labels = Annotated[list[Label], Meta(min_length=1)]
# What a golden answer may hold and a client gets, by type.
FIELDS: dict[str, tuple[str, ...]] = {
    "ranking": ("prediction", "confidence", "scores"),
    "classification": ("prediction", "confidence", "probabilities"),
    "regression": ("prediction", "interval"),
    "embedding": ("prediction",),
    "object": ("prediction",),
}
_ID: Json = {"type": ["string", "integer"]}
_SCHEMA_ID = "urn:marloft:response"
_SHARE: Json = {"type": "number", "minimum": 0, "maximum": 1}


class RankingResponse(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="ranking"
):
    """Ids, best first: `prediction`, their `scores`, and as `confidence` the best one's score."""

    @property
    def per(self) -> Per:
        """A ranking is one answer to the whole request."""
        return "request"


class _EntriesResponse(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
):
    """What the types with an entry per row, or one per request, have in common."""

    per: Per = "row"


class ClassificationResponse(_EntriesResponse, frozen=True, kw_only=True, tag="classification"):
    """A label, its probability as `confidence`, and `probabilities` by label.

    `labels` are in the order of the model's columns. With `top`, `probabilities` holds that many of
    the likeliest, with 0 none.
    """

    labels: Labels
    top: Annotated[int, Meta(ge=0)] | None = None


class RegressionResponse(_EntriesResponse, frozen=True, kw_only=True, tag="regression"):
    """A number; with `interval`, the share of cases it covers, also its `interval` [low, high]."""

    interval: Annotated[float, Meta(gt=0, lt=1)] | None = None


class EmbeddingResponse(_EntriesResponse, frozen=True, kw_only=True, tag="embedding"):
    """A vector of `dimension` numbers."""

    dimension: Annotated[int, Meta(ge=1)]


class ObjectResponse(_EntriesResponse, frozen=True, kw_only=True, tag="object"):
    """Any JSON value that `schema`, a JSON Schema 2020-12 of one entry, allows."""

    schema: Json


Response = (
    RankingResponse
    | ClassificationResponse
    | RegressionResponse
    | EmbeddingResponse
    | ObjectResponse
)


def type_of(response: Response) -> str:
    """Return the word of the declared type, such as `ranking`."""
    return str(response.__struct_config__.tag)


def label_texts(labels: Sequence[Label]) -> list[str]:
    """Return the labels as the keys of `probabilities`, numbers and booleans as in JSON."""
    return [str(label).lower() if isinstance(label, bool) else str(label) for label in labels]


def faults(response: Response) -> list[str]:
    """Return what is wrong with a declaration beyond its form, a line each."""
    if isinstance(response, ClassificationResponse):
        return _label_faults(response)
    if isinstance(response, ObjectResponse):
        return [f"schema{fault}" for fault in json_schema.faults(response.schema)]
    return []


def properties(response: Response) -> Json:
    """Return the part of an answer that the type decides, as properties of a JSON Schema."""
    if isinstance(response, RankingResponse):
        numbers = {"type": "array", "items": {"type": "number"}, "minItems": 1}
        ids = {"type": "array", "items": _ID, "minItems": 1, "description": "Ids, best first."}
        return {
            "prediction": ids,
            "confidence": {"type": "number", "description": "The score of the first id."},
            "scores": numbers,
        }
    entries = _entry(response)
    if response.per == "request":
        return entries
    return {name: {"type": "array", "items": entry} for name, entry in entries.items()}


def _entry(response: Response) -> Json:
    if isinstance(response, ClassificationResponse):
        return _classified(response)
    if isinstance(response, RegressionResponse):
        bounds = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        number: Json = {"prediction": {"type": "number"}}
        return number if response.interval is None else {**number, "interval": bounds}
    if isinstance(response, EmbeddingResponse):
        size = {"minItems": response.dimension, "maxItems": response.dimension}
        return {"prediction": {"type": "array", "items": {"type": "number"}, **size}}
    assert isinstance(response, ObjectResponse)
    # With an id of its own, its `#/$defs/…` stay its own wherever it is embedded.
    return {"prediction": {"$id": _SCHEMA_ID, **response.schema}}


def _classified(response: ClassificationResponse) -> Json:
    entry: Json = {"prediction": {"enum": response.labels}, "confidence": _SHARE}
    if response.top == 0:
        return entry
    labels = label_texts(response.labels)
    probabilities: Json = {
        "type": "object",
        "properties": dict.fromkeys(labels, _SHARE),
        "additionalProperties": False,
    }
    if response.top is None:
        probabilities["required"] = labels
    return {**entry, "probabilities": probabilities}


def _label_faults(response: ClassificationResponse) -> list[str]:
    texts = label_texts(response.labels)
    twice = sorted({text for text in texts if texts.count(text) > 1})
    found = [f"labels: {text!r} occurs twice; each label names one column." for text in twice]
    if response.top is not None and response.top > len(texts):
        found.append(f"top: {response.top} is more than the {len(texts)} labels; leave it out.")
    return found
