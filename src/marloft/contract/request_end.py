"""How a request ended, and whose doing that was: the version's, the load's or somebody else's."""

from collections.abc import Mapping
from typing import Literal

# answered: by the version, with any status but a 5xx. failed: by the version, with a 5xx.
# unanswered: complete in time, and the version gave no answer within the limit. refused: more came
# than could be answered. excluded: the client left, its rate limit was reached, TorchServe could
# not be reached or the record not be written.
End = Literal["answered", "failed", "unanswered", "refused", "excluded"]

# Envoy's codes of requests that their client never finished or left before the answer.
_CLIENTS_END = {"0", "408", "499"}
# Envoy's response flags: a circuit breaker was open.
_OVERFLOW = {"UO"}
_CAUSES_OF_LOAD = {"late", "queue"}
# No connection to TorchServe, or one that it closed or reset.
_NOT_BY_THE_VERSION = {"UF", "UC", "UR", "LR", "UH", "NC", "NR"}
_TIMEOUT, _RATE_LIMIT = "UT", "RL"


def _any_of(flags: set[str]) -> str:
    return f"(.*,)?({'|'.join(sorted(flags))})(,.*)?"


# The same in PromQL, as matchers of the gateway's counter: the version's errors; and refusals,
# which have one or the other.
VERSION_ERRORS = f'code=~"5..",cause="",flags!~"{_any_of(_OVERFLOW | _NOT_BY_THE_VERSION)}"'
REFUSALS = (
    f'flags=~"{_any_of(_OVERFLOW)}"',
    f'cause=~"{"|".join(sorted(_CAUSES_OF_LOAD))}"',
)


def end_of(labels: Mapping[str, str]) -> End:
    """Return how requests with these labels of the gateway's counter ended.

    An answer that had begun was the version's, however long its client took to read it.

    Args:
        labels: `code`, the status; `flags`, Envoy's response flags, and `cause`, what the worker
            or the gateway says of a 5xx. Without the latter two the status decides.
    """
    code, cause = labels.get("code", ""), labels.get("cause", "")
    flags = set(labels.get("flags", "").split(","))
    if flags & _OVERFLOW or cause in _CAUSES_OF_LOAD:
        return "refused"
    if code in _CLIENTS_END or _RATE_LIMIT in flags:
        return "excluded"
    if not code.startswith("5"):
        return "answered"
    if cause or flags & _NOT_BY_THE_VERSION:
        return "excluded"
    return "unanswered" if _TIMEOUT in flags else "failed"
