"""The routes that refuse a request before one leads it to a version: method, query, type, form."""

from collections.abc import Sequence

from marloft.deploy.gateway.envoy_config import (
    HAS_QUERY_REGEX,
    JSON_TYPE,
    MALFORMED,
    PRESENT,
    Json,
    content_type_regex,
    has_form,
    metadata_matcher,
    set_header,
)
from marloft.deploy.gateway.replies import NO_QUERY, NOT_JSON, answer


def method_checks(path: str, method: str) -> list[Json]:
    """Return the routes that refuse other methods than `method`, and query parameters."""
    wrong = {"name": ":method", "string_match": {"exact": method}, "invert_match": True}
    refusal = answer({"path": path, "headers": [wrong]}, 405, f"{path} takes {method} only.")
    # TorchServe turns query parameters into inputs, past every check of the body.
    query = {"name": ":path", "string_match": has_form(HAS_QUERY_REGEX)}
    return [
        refusal | {"response_headers_to_add": [set_header("allow", method)]},
        answer({"path": path, "headers": [query]}, 400, NO_QUERY),
    ]


def body_checks(path: str, types: Sequence[str]) -> list[Json]:
    """Return the routes that refuse what is no POST of one of the content types, or broken JSON."""
    wrong = _content_type(types) | {"invert_match": True, "treat_missing_header_as_empty": True}
    # The mark stands on every body that was not read as JSON, also on those that need not be.
    broken = {
        "headers": [_content_type([JSON_TYPE])],
        "dynamic_metadata": [metadata_matcher(MALFORMED, PRESENT)],
    }
    refusal = f"Content-Type must be {' or '.join(types)}."
    return [
        *method_checks(path, "POST"),
        answer({"path": path, "headers": [wrong]}, 415, refusal),
        answer({"path": path, **broken}, 400, NOT_JSON),
    ]


def _content_type(types: Sequence[str]) -> Json:
    return {"name": "content-type", "string_match": has_form(content_type_regex(types))}
