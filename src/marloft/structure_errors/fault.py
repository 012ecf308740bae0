"""One mistake in a file, and lists of them as people read them."""

import copy
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Place = tuple[str | int, ...]
_PLAIN = re.compile(r"[A-Za-z_][\w-]*\Z")


class Fault(NamedTuple):
    """One mistake: the keys and indices that lead to it, and a sentence that names it.

    `about` are the places whose faults explain this one away: a missing `items` is none if `items`
    is there and mistyped. `unknown` says that the key means nothing, so that all else is what it
    is; `whole` that the form is right and a type's own check refused the whole.
    """

    place: Place
    text: str
    about: tuple[Place, ...] = ()
    unknown: bool = False
    whole: bool = False


def dotted(place: Place) -> str:
    """Return a place as people read it: `models.ranker.versions."1.0"`, `$` for the whole file."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += "." * bool(text) + (step if _PLAIN.match(step) else json.dumps(step))
    return text or "$"


def listed(faults: Sequence[Fault]) -> str:
    """Return one fault as it is, several on a line of their own each."""
    if len(faults) == 1:
        return faults[0].text
    return "\n  ".join([f"{len(faults)} errors:", *(fault.text for fault in faults)])


def in_file_order(faults: Iterable[Fault], value: Any) -> list[Fault]:
    """Return the faults as a reader of the file `value` meets them, from top to bottom."""

    def rank(fault: Fault) -> list[int]:
        ranks, node = [], value
        for step in fault.place:
            keys = list[Any](node) if isinstance(node, dict) else list[Any](range(_length(node)))
            # What a mapping lacks comes before what it holds.
            ranks.append(keys.index(step) if step in keys else -1)
            node = node[step] if step in keys else None
        return ranks

    return sorted(faults, key=rank)


def without(value: Any, faults: Iterable[Fault]) -> Any:
    """Return a copy of plain `value` without the keys that hold faults, to check the rest of it."""
    left = copy.deepcopy(value)
    for fault in faults:
        node, holder, key = left, None, None
        for step in fault.place:
            if isinstance(node, dict):
                holder, key = node, step
            known = step in node if isinstance(node, dict) else step in range(_length(node))
            node = node[step] if known else None
        # A list is left out as a whole: its entries would move up.
        if holder is not None:
            holder.pop(key, None)
    return left


def _length(node: Any) -> int:
    return len(node) if isinstance(node, list) else 0
