"""The HTTP contract of `POST /outcomes`: what became of an answer, or of one item of it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from marloft.contract.predict_api import RequestId

EVENT_PATTERN = r"^[a-z][a-z0-9_]{0,62}\Z"
Event = Annotated[str, Meta(pattern=EVENT_PATTERN)]
ItemId = (
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, Meta(min_length=1, max_length=128)]
)


_WHOLE = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Value = float | _WHOLE | bool | Annotated[str, Meta(max_length=1024)]
# The event whose value is the truth about an entry: the right label, the right number.
LABEL_EVENT = "label"


class Outcome(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A request body.

    `request_id` is the answer's. `item_id` is the id that a ranking showed, for other types the
    number of the row from 0; without it the outcome is of the whole answer. `event` is for example
    `click`, or `label` for the truth about a prediction. `value` is what the event is worth in
    whatever unit it has; of a `label` the right label or number.
    """

    request_id: RequestId
    item_id: ItemId | None = None
    event: Event
    value: Value | None = None


class OutcomeAccepted(Struct, frozen=True, kw_only=True):
    """The body of a 202: the outcome is in the log."""

    status: Literal["accepted"] = "accepted"
