"""The HTTP contract of `POST /predict`: request, response, problem details, gateway headers."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

UNIT_PATTERN = r"^[A-Za-z0-9._:@-]{1,128}\Z"
UserId = (
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | Annotated[str, Meta(pattern=UNIT_PATTERN)]
)
RequestId = Annotated[str, Meta(pattern=UNIT_PATTERN)]

ROUTE_HEADER = "x-marloft"
VERSION_HEADER = "x-model-version"
USER_HEADER = "x-user-id"
REQUEST_ID_HEADER = "x-request-id"
ATTEMPT_HEADER = "x-envoy-attempt-count"
DO_NOT_RETRY_HEADER = "x-envoy-ratelimited"
# The path with its query as the client sent it: TorchServe drops the query of /predictions.
QUERY_HEADER = f"{ROUTE_HEADER}-query"
PROBLEM_JSON = "application/problem+json"
# What says of a 5xx that it is not the version's doing, and why it came.
CAUSE_HEADER = f"{ROUTE_HEADER}-cause"
# The record cannot be written; the deadline passed in the queue; TorchServe's queue is full.
Cause = Literal["log", "late", "queue"]

_VERSION = re.compile(r"v?((?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*))\Z")


class RequestEnvelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A request body; `features` stays raw JSON: logged as sent, decoded by the row schema."""

    features: msgspec.Raw
    user_id: UserId | None = None
    model_version: str | None = None
    request_id: RequestId | None = None


class ParameterEnvelope(RequestEnvelope, frozen=True, kw_only=True, gc=False):
    """A request body for an archive that declares parameters; they stay raw JSON too."""

    parameters: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class NodeEnvelope(RequestEnvelope, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A request body inside a workflow: what the assign node says of it stays raw JSON."""

    marloft: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="_marloft", default=msgspec.UNSET)


class ParameterNodeEnvelope(NodeEnvelope, frozen=True, kw_only=True, gc=False):
    """The same with parameters; the assign node passes them on unread."""

    parameters: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ExperimentArm(Struct, frozen=True, kw_only=True):
    """The experiment a request belongs to and the arm its unit was assigned."""

    name: str
    arm: str


class PredictResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A good answer.

    The archive's `response` says what `prediction` is, and which of `confidence`, `scores` (a
    ranking's), `probabilities` (a classification's) and `interval` (a regression's) an answer has;
    `latency_ms` runs from the last byte of the request at the gateway until the answer is ready:
    queue and model, neither the upload nor the download.
    """

    prediction: Any
    confidence: float | list[float] | None = None
    latency_ms: float
    model_version: str
    request_id: str
    scores: list[float] | None = None
    probabilities: dict[str, float] | list[dict[str, float]] | None = None
    interval: list[Any] | None = None
    experiment: ExperimentArm | None = None


class Health(Struct, frozen=True, kw_only=True):
    """A good answer to `GET /health`: a prediction of this version just went through."""

    model_version: str
    status: Literal["ok"] = "ok"


class FieldError(Struct, frozen=True, kw_only=True):
    """One fault of a request: its place as a JSON pointer (RFC 6901) and what is wrong there."""

    pointer: str
    detail: str


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details, RFC 9457; `errors` follows the extension shown in its section 3."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    request_id: str | None = None
    errors: list[FieldError] | None = None


class RouteFacts(Struct, frozen=True, kw_only=True):
    """What the gateway passes to a handler about a request in the `x-marloft` header.

    `arrived_s` is when the request was complete at the gateway, in seconds since the epoch,
    `limit_s` how long the gateway waits for an answer from then on, all tries together. All fields
    are None for a request that came without a gateway. A `probe` asks whether a prediction would go
    through; a `check` is a golden request of the controller, answered like any other. Neither is
    traffic, so neither is logged or counted.
    """

    release: int | None = None
    experiment: str | None = None
    arm: str | None = None
    version: str | None = None
    propensity: float | None = None
    arrived_s: float | None = None
    limit_s: float | None = None
    probe: bool = False
    check: bool = False

    @property
    def is_traffic(self) -> bool:
        """Whether this is a client's request, neither probe nor check."""
        return not (self.probe or self.check)

    def expired(self, now_s: float) -> bool:
        """Whether the gateway has stopped waiting; `now_s` is in seconds since the epoch."""
        if self.arrived_s is None or self.limit_s is None:
            return False
        return now_s > self.arrived_s + self.limit_s


NO_ROUTE = RouteFacts()


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a request is refused: what is wrong, where (JSON pointer, `""` for all of it), status."""

    detail: str
    pointer: str
    status: int


class NodeFacts(RouteFacts, frozen=True, kw_only=True, omit_defaults=True):
    """What a workflow's assign node passes to the arms' nodes about a request, in `_marloft`.

    The node called `node` answers; the others pass. `arrived_s` (`t` on the wire) is the time of
    arrival at the assign node. `refusal` is set when the assign node could not read the request.
    """

    node: str
    request_id: str
    arrived_s: float | None = msgspec.field(default=None, name="t")
    refusal: Refusal | None = None


class NodeBody(Struct, frozen=True, kw_only=True):
    """The part of a request body that is meant for the nodes; None when no assign node ran."""

    marloft: NodeFacts | None = msgspec.field(name="_marloft", default=None)


def parse_route_header(value: str | None) -> RouteFacts:
    """Parse `release=7;experiment=feed_ab;arm=treatment;version=2.0;propensity=0.5;t=1.5;d=8`.

    `t` is when the request was complete at the gateway, `d` the seconds that it waits from then on.
    Unknown keys are ignored, so that a newer gateway works with an older worker. The header is set
    by the gateway alone (it strips the client's), so its values are trusted.

    Raises:
        ValueError: a value is not a finite number.
    """
    if not value:
        return NO_ROUTE
    pairs = dict(part.split("=", 1) for part in value.split(";") if "=" in part)
    return RouteFacts(
        release=int(pairs["release"]) if "release" in pairs else None,
        experiment=pairs.get("experiment"),
        arm=pairs.get("arm"),
        version=pairs.get("version"),
        propensity=_finite(pairs, "propensity"),
        arrived_s=_finite(pairs, "t"),
        limit_s=_finite(pairs, "d"),
        probe=pairs.get("probe") == "1",
        check=pairs.get("check") == "1",
    )


def _finite(pairs: Mapping[str, str], key: str) -> float | None:
    if key not in pairs:
        return None
    value = float(pairs[key])
    if not math.isfinite(value):
        raise ValueError(f"{key} is {pairs[key]!r}, must be a finite number")
    return value


def bare_version(text: str) -> str | None:
    """Return `"1.0"` for `"v1.0"` or `"1.0"`, None for anything that is not a version."""
    match = _VERSION.match(text)
    return match[1] if match else None


def public_version(version: str) -> str:
    """Return the version as HTTP clients see it: `"v1.0"`."""
    return f"v{version}"


def json_pointer(msgspec_path: str, prefix: str = "") -> str:
    """Turn a msgspec error path (`$[3].item_id`) into a JSON pointer (`/3/item_id`, RFC 6901)."""
    parts = re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", msgspec_path)
    return prefix + "".join("/" + (name or index) for name, index in parts)
