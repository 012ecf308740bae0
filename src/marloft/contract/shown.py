"""What an answer shows, and which of it an outcome means: one rule for all readers of the log.

A ranking lists ids, best first: its first `top` are shown, and an outcome names one by its id. So
does an answer that declares no type. Answers of the other types have an entry per row, or one: all
of them are shown, and an outcome names one by the number of its row, from 0. Where there is only
one entry, an outcome of the whole answer means that entry.
"""

import re
from typing import Any

from msgspec import Struct

RANKING = "ranking"
_ROW_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")


class ShownEntries(Struct, frozen=True, gc=False):
    """How many entries an answer shows; `ids` are a ranking's as text, None where rows count."""

    count: int
    ids: list[str] | None = None

    def place_of(self, item_id: int | str | None) -> int | None:
        """Return the place from 0 of the entry that an outcome names, None when it names none."""
        if self.ids is None:
            return self._row(item_id)
        item = str(item_id)
        return self.ids.index(item) if item_id is not None and item in self.ids else None

    def _row(self, item_id: int | str | None) -> int | None:
        if item_id is None:
            return 0 if self.count == 1 else None
        text = str(item_id)
        row = int(text) if _ROW_NUMBER.fullmatch(text) else self.count
        return row if row < self.count else None


def is_ranked(response: str | None) -> bool:
    """Whether answers of that declared type are ids, best first; None declares no type."""
    return response is None or response == RANKING


def shown_of(
    prediction: Any, response: str | None, entries: int | None, top: int | None = None
) -> ShownEntries:
    """Return what an answer shows.

    Args:
        prediction: as in its record.
        response: the declared type, None when the record has none.
        entries: how many the record says that there are; None without a declared type.
        top: how many of a ranking are shown, all of it without.
    """
    if not is_ranked(response):
        return ShownEntries(entries or 0)
    listed = prediction if isinstance(prediction, list) else [prediction]
    ids = [str(item) for item in listed[:top]]
    return ShownEntries(len(ids), ids)
