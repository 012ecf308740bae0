"""What the gateway itself answers: problem details (RFC 9457) in place of Envoy's own texts."""

from collections.abc import Iterable

import msgspec

from marloft.contract.predict_api import (
    CAUSE_HEADER,
    PROBLEM_JSON,
    REQUEST_ID_HEADER,
    USER_HEADER,
    FieldError,
    Problem,
)
from marloft.deploy.gateway.concurrency import REFUSED_EARLY
from marloft.deploy.gateway.envoy_config import (
    HAS_QUERY_REGEX,
    MALFORMED,
    METADATA,
    PRESENT,
    READ_BODY,
    REFUSED_JSON,
    REFUSED_QUERY,
    UNIT_REGEX,
    Json,
    both_filters,
    cel_filter,
    has_form,
    metadata_matcher,
    set_header,
    status_filter,
)

NO_QUERY = "Query parameters are not taken; put everything into the body."
_HAS_FRAGMENT = r"[^#]*#.*"
_NO_FRAGMENT = (
    "The URL has a fragment; percent-encode the # if it belongs to a value, else drop it."
)
NOT_JSON = "The request body is not JSON as the gateway reads it (integers of 64 bits, no NaN)."
_RETRY_AFTER_S = "1"

_TITLES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_FORM = "must be 1 to 128 characters of A-Z a-z 0-9 . _ : @ -"
_NO_ANSWER = "The model server could not answer; try again."
_TOO_FAST = (
    f"More requests in a second than %METADATA(ROUTE:{METADATA}:model)% takes from one client or "
    "from all of them; send them more slowly."
)
_TOO_MANY = (
    f"More requests than %METADATA(ROUTE:{METADATA}:model)% can answer in time; this one was "
    "refused at once, try again later."
)
_TOO_LATE = "The model server did not answer in time; try again."
_MATCHER = "type.googleapis.com/envoy.type.matcher.v3."


def problem_text(status: int, detail: str, errors: list[FieldError] | None = None) -> str:
    """Return a problem document as compact JSON text."""
    problem = Problem(title=_TITLES[status], status=status, detail=detail, errors=errors)
    return msgspec.json.encode(problem).decode()


def local_reply_config(max_body_bytes: int) -> Json:
    """Return Envoy's `local_reply_config`: the first mapper whose filter fits decides.

    Routes answer with finished documents, which are passed on; everything else that Envoy says
    by itself becomes a problem document with the request id.
    """
    too_large = f"The request body is larger than {max_body_bytes} bytes; send fewer rows."
    return {
        "mappers": [
            # First what a flood is answered with, so that it costs least.
            _mapper(status_filter(REFUSED_EARLY), 503, _TOO_MANY),
            _mapper(both_filters(status_filter(503), _OVERFLOW), 503, _TOO_MANY),
            _mapper(status_filter(429), 429, _TOO_FAST),
            *(_bad_header(name) for name in (USER_HEADER, REQUEST_ID_HEADER)),
            _bad_field("request_id", both_filters(status_filter(403), _good_or_absent("user_id"))),
            _bad_field("user_id", status_filter(403)),
            _pass_on(400, _of_route(REFUSED_QUERY)),
            _mapper(both_filters(status_filter(400), _of_route(REFUSED_JSON)), 400, NOT_JSON),
            _mapper(both_filters(status_filter(400), _path(_HAS_FRAGMENT)), 400, _NO_FRAGMENT),
            _mapper(both_filters(status_filter(400), _path(HAS_QUERY_REGEX)), 400, NO_QUERY),
            _mapper(both_filters(status_filter(400), _is_malformed()), 400, NOT_JSON),
            _mapper(status_filter(413), 413, too_large),
            _mapper(status_filter(504), 504, _TOO_LATE),
            # A flag tells Envoy's own failure (also: no route yet) from a route's document.
            *(
                _mapper(both_filters(status_filter(code), _FLAGGED), 503, _NO_ANSWER)
                for code in (404, 502, 503)
            ),
            *(_pass_on(code) for code in (404, 405, 415, 503)),
        ],
        "body_format": _format(
            {
                "type": "about:blank",
                "title": "Refused by the gateway",
                "status": "%RESPONSE_CODE%",
                "detail": "%RESPONSE_CODE_DETAILS%",
            }
        ),
    }


def hide_server_errors() -> Json:
    """Replace TorchServe's own error bodies (5xx, unknown model) by a 503 problem document.

    A handler's problem document is passed on: it is known by its content type.
    """
    status = _input("HttpResponseStatusCodeMatchInput")
    failed = {
        "or_matcher": {
            "predicate": [
                _response(_input("HttpResponseStatusCodeClassMatchInput"), "5xx"),
                _response(status, "404"),
            ]
        }
    }
    not_own = {"not_matcher": _handlers()}
    # TorchServe's own 503 is that of a full queue; a worker that dies is a 500 or 507.
    full = _both_match(_response(status, "503"), not_own)
    return _custom_response(
        _replace_by_503(full, set_header(CAUSE_HEADER, "queue")),
        _replace_by_503(_both_match(failed, not_own)),
    )


def hide_all_errors() -> Json:
    """Replace every answer but a 200 by a 503 problem document (for the health check).

    A handler's own 503 says why, and is passed on.
    """
    status = _input("HttpResponseStatusCodeMatchInput")
    reason = _both_match(_response(status, "503"), _handlers())
    kept = {"or_matcher": {"predicate": [_response(status, "200"), reason]}}
    return _custom_response(_replace_by_503({"not_matcher": kept}))


def _handlers() -> Json:
    """Return the predicate of what a handler itself answered as a problem."""
    source = _input("HttpResponseHeaderMatchInput", header_name="content-type")
    return _response(source, PROBLEM_JSON)


def answer(match: Json, status: int, detail: str) -> Json:
    """Return a route that answers `match` with a problem document and asks no upstream."""
    body = {"inline_string": problem_text(status, detail)}
    route: Json = {"match": match, "direct_response": {"status": status, "body": body}}
    if status == 503:
        route["response_headers_to_add"] = _retry_after()
    return route


def answer_unread(match: Json, status: int, detail: str) -> Json:
    """Return the route of `answer` for what is refused whatever its body says.

    Reading a body of a megabyte would hold the gateway up for 40 ms. `match` must not depend on
    the body, and nothing that does may stand before it.
    """
    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    return answer(match, status, detail) | {"typed_per_filter_config": {READ_BODY: off}}


def _retry_after() -> list[Json]:
    return [set_header("retry-after", _RETRY_AFTER_S)]


def _bad_field(key: str, condition: Json) -> Json:
    errors = [FieldError(pointer=f"/{key}", detail=_FORM)]
    return _mapper(condition, 422, f"{key} {_FORM}.", errors)


def _good_or_absent(key: str) -> Json:
    # This filter knows no `invert`, so the field is found by the other one's being good.
    good = metadata_matcher(key, {"string_match": has_form(UNIT_REGEX)})
    return {"metadata_filter": {"matcher": good, "match_if_key_not_found": True}}


def _is_malformed() -> Json:
    matcher = metadata_matcher(MALFORMED, PRESENT)
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _bad_header(name: str) -> Json:
    bad = {"name": name, "string_match": has_form(UNIT_REGEX), "invert_match": True}
    found = {"header_filter": {"header": bad}}
    return _mapper(both_filters(status_filter(403), found), 400, f"Header {name} {_FORM}.")


def _mapper(
    condition: Json, status: int, detail: str, errors: Iterable[FieldError] | None = None
) -> Json:
    document: Json = {
        "type": "about:blank",
        "title": _TITLES[status],
        "status": status,
        "detail": detail,
    }
    if errors is not None:
        document["errors"] = msgspec.to_builtins(list(errors))
    mapper: Json = {
        "filter": condition,
        "status_code": status,
        "body_format_override": _format(document),
    }
    if status in (429, 503, 504):
        mapper["headers_to_add"] = _retry_after()
    return mapper


def _pass_on(status: int, condition: Json | None = None) -> Json:
    found = (
        status_filter(status)
        if condition is None
        else both_filters(status_filter(status), condition)
    )
    text = {"inline_string": "%LOCAL_REPLY_BODY%"}
    body = {"text_format_source": text, "content_type": PROBLEM_JSON}
    return {"filter": found, "body_format_override": body}


def _format(document: Json) -> Json:
    named = {**document, "request_id": f"%REQ({REQUEST_ID_HEADER})%"}
    return {"json_format": named, "content_type": PROBLEM_JSON}


def _path(regex: str) -> Json:
    return {"header_filter": {"header": {"name": ":path", "string_match": has_form(regex)}}}


def _of_route(name: str) -> Json:
    """Return the filter for what a route of this name answered."""
    return cel_filter(f"xds.route_name == '{name}'")


_FLAGGED: Json = {"response_flag_filter": {}}
_OVERFLOW: Json = {"response_flag_filter": {"flags": ["UO"]}}


def _input(kind: str, **fields: str) -> Json:
    return {"name": kind, "typed_config": {"@type": _MATCHER + kind, **fields}}


def _response(source: Json, value: str) -> Json:
    return {"single_predicate": {"input": source, "value_match": {"exact": value}}}


def _both_match(first: Json, second: Json) -> Json:
    return {"and_matcher": {"predicate": [first, second]}}


def _replace_by_503(predicate: Json, *headers: Json) -> Json:
    policy = {
        "@type": "type.googleapis.com/envoy.extensions.http.custom_response"
        ".local_response_policy.v3.LocalResponsePolicy",
        "status_code": 503,
        "body": {"inline_string": problem_text(503, _NO_ANSWER)},
        "response_headers_to_add": [*_retry_after(), *headers],
    }
    action = {"action": {"name": "unavailable", "typed_config": policy}}
    return {"predicate": predicate, "on_match": action}


def _custom_response(*matchers: Json) -> Json:
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.custom_response.v3"
        ".CustomResponse",
        "custom_response_matcher": {"matcher_list": {"matchers": [*matchers]}},
    }
