"""The HTTP contract of `POST /outcomes`: what a user did with one item of one answer."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from marloft.contract.predict_api import RequestId

EVENT_PATTERN = r"^[a-z][a-z0-9_]{0,62}\Z"
Event = Annotated[str, Meta(pattern=EVENT_PATTERN)]
ItemId = (
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, Meta(min_length=1, max_length=128)]
)


class Outcome(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A request body.

    `request_id` is that of the answer which showed the item; `event` is for example `click`;
    `value` is what the event is worth, in whatever unit the event has.
    """

    request_id: RequestId
    item_id: ItemId
    event: Event
    value: float | None = None


class OutcomeAccepted(Struct, frozen=True, kw_only=True):
    """The body of a 202: the outcome is in the log."""

    status: Literal["accepted"] = "accepted"
