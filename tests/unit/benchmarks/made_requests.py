"""Requests as a driver has sent them."""

from typing import Any

from harness.driver import SentRequest

_GOOD = SentRequest(
    sent_s=1.0,
    took_s=0.01,
    user=1,
    release=1,
    status=200,
    version="v1.0",
    request_id="a",
    retry_after=False,
    detail="",
)


def sent_request(**changes: Any) -> SentRequest:
    """Return a request of user 1 that v1.0 of release 1 answered, with some facts changed."""
    return _GOOD._replace(**changes)
