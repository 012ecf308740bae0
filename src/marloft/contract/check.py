"""The verdict of one check, as every verifying command reports it."""

from msgspec import Struct


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    `code` is stable (documented with cause and cure); `culprit` names what is at fault, `""` when
    nothing is; `message` says in one line what was found.
    """

    code: str
    ok: bool
    culprit: str
    message: str
