"""The verdict of one check, as every verifying command reports it."""

from typing import Self

from msgspec import Struct


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was checked.

    `code` is stable (documented with cause and cure); `culprit` names what is at fault, `""` when
    nothing is; `message` says in one line what was found.
    """

    code: str
    ok: bool
    culprit: str
    message: str

    @classmethod
    def passed(cls, code: str, message: str) -> Self:
        """Return a check that found nothing wrong."""
        return cls(code=code, ok=True, culprit="", message=message)

    @classmethod
    def failed(cls, code: str, culprit: str, message: str) -> Self:
        """Return a check that failed because of `culprit`, `""` for the whole."""
        return cls(code=code, ok=False, culprit=culprit, message=message)
