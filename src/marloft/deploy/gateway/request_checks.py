"""The routes that refuse a request before one leads it to a version: method, query, type, form."""

from collections.abc import Sequence

from marloft.contract.parameters import HEADER_PREFIX, MAX_QUERY_CHARACTERS
from marloft.deploy.gateway.envoy_config import (
    HAS_QUERY_REGEX,
    JSON_TYPE,
    MALFORMED,
    PRESENT,
    REFUSED_JSON,
    REFUSED_QUERY,
    Json,
    content_type_regex,
    has_form,
    metadata_matcher,
    set_header,
)
from marloft.deploy.gateway.replies import NO_QUERY, NOT_JSON, answer, answer_unread

# One value of a query: what RFC 3986 and clients leave as it is, but no `;`, which some servers
# read as `&`, and no `#`.
_VALUE = r"""(?:[!"$'-:<->@-~?]|%[0-9A-Fa-f]{2})*"""


def method_checks(path: str, method: str) -> list[Json]:
    """Return the routes that refuse other methods than `method`, and query parameters."""
    # What workers were told past the gateway's check of the body could contradict it.
    query = answer({"path": path, "headers": [_path(HAS_QUERY_REGEX)]}, 400, NO_QUERY)
    return [_method_check(path, method), query]


def body_checks(path: str, types: Sequence[str], parameters: Sequence[str] = ()) -> list[Json]:
    """Return the routes that refuse what is no POST of one of the content types, or broken JSON.

    A query is refused unless it gives some of `parameters`, each once.
    """
    wrong = _content_type(types) | {"invert_match": True, "treat_missing_header_as_empty": True}
    # The mark stands on every body that was not read as JSON, also on those that need not be.
    broken = {
        "headers": [_content_type([JSON_TYPE])],
        "dynamic_metadata": [metadata_matcher(MALFORMED, PRESENT)],
    }
    refusal = f"Content-Type must be {' or '.join(types)}."
    not_json = answer({"path": path, **broken}, 400, NOT_JSON)
    if parameters:
        checks = [_method_check(path, "POST"), *_query_checks(path, parameters)]
        not_json["name"] = REFUSED_JSON
    else:
        checks = method_checks(path, "POST")
    return [*checks, answer({"path": path, "headers": [wrong]}, 415, refusal), not_json]


def _method_check(path: str, method: str) -> Json:
    wrong = {"name": ":method", "string_match": {"exact": method}, "invert_match": True}
    refusal = answer_unread({"path": path, "headers": [wrong]}, 405, f"{path} takes {method} only.")
    return refusal | {"response_headers_to_add": [set_header("allow", method)]}


def _query_checks(path: str, parameters: Sequence[str]) -> list[Json]:
    """Return the routes that refuse a query which gives anything but `parameters`, each once."""
    too_long = f"[^?]*[?][!-~]{{{MAX_QUERY_CHARACTERS + 1}}}.*"
    allowed = rf"[^?]*(?:[?&](?:{'|'.join(parameters)})={_VALUE})+"
    form = "&".join(f"{name}=…" for name in parameters)
    refusals = [
        (
            [_path(too_long)],
            f"The query has more than {MAX_QUERY_CHARACTERS} characters; send long values in the "
            f"body or in headers {HEADER_PREFIX}….",
        ),
        (
            [_path(HAS_QUERY_REGEX), _path(allowed) | {"invert_match": True}],
            f"The query may hold these parameters only, each at most once: {form}; all other "
            "characters than letters and digits are best percent-encoded in a value.",
        ),
    ]
    for name in parameters:
        twice = rf"[^?]*[?](?:.*&)?{name}=.*&{name}=.*"
        refusals.append(([_path(twice)], f"{name} is given twice in the query; give it once."))
    return [
        answer({"path": path, "headers": headers}, 400, detail) | {"name": REFUSED_QUERY}
        for headers, detail in refusals
    ]


def _path(regex: str) -> Json:
    return {"name": ":path", "string_match": has_form(regex)}


def _content_type(types: Sequence[str]) -> Json:
    return {"name": "content-type", "string_match": has_form(content_type_regex(types))}
