"""The matchers of Envoy that the gateway uses, played in Python; tests/e2e asks the real ones.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto
"""

import re
from collections.abc import Mapping
from typing import Any


def re2_matches(regex: str, value: str) -> bool:
    """Whether RE2 fits the whole value; there a flag holds for all that follows."""
    flags = re.IGNORECASE if regex.startswith("(?i)") else re.NOFLAG
    return bool(re.fullmatch(regex.replace("(?i)", ""), value, flags))


def string_matches(matcher: Any, value: str) -> bool:
    """Whether a StringMatcher fits: on the exact value, or on a form."""
    if "exact" in matcher:
        return bool(value == matcher["exact"])
    return re2_matches(matcher["safe_regex"]["regex"], value)


def header_matches(matcher: Any, headers: Mapping[str, str]) -> bool:
    """Whether a HeaderMatcher fits; a header that is not there fits nothing, inverted or not."""
    empty = "" if matcher.get("treat_missing_header_as_empty") else None
    value = headers.get(matcher["name"], empty)
    if value is None:
        return False
    return string_matches(matcher["string_match"], value) is not matcher.get("invert_match", False)
