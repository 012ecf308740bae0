"""The table of deliverables: its type, its file `docs/deliverables.yaml`, its page."""

from collections import Counter
from pathlib import Path
from typing import Literal

from msgspec import Struct

from marloft.errors import ConfigError
from marloft.files import read_yaml

SOURCE = Path("docs/deliverables.yaml")
PAGE = Path("docs/deliverables.md")

State = Literal["done", "thin", "absent"]
STATES: tuple[State, ...] = ("done", "thin", "absent")

_INTRODUCTION = """\
# Deliverables

What was promised, the files that keep the promise, and the command that checks it. Generated from
[deliverables.yaml](deliverables.yaml) by `python -m tools.deliverables page`.

```
make demo            # first: the checks read what it leaves in build/
make deliverables    # runs every check below, prints a table, names what is red
```

**done** means that the check passes and the promise is kept; **thin**, that it works and is
checked with less depth than one would want, and the row says how; **absent**, that it is not
there, and why.
A check that needs a program which pip does not bring is listed as not run, with the cure.
"""


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One deliverable or promise.

    `files` are paths from the repository's root, made by the build or committed; `check` is one
    command without shell operators, run from there.
    """

    name: str
    files: list[str]
    check: str
    target: str
    state: State
    note: str | None = None

    def __post_init__(self) -> None:
        if self.state != "done" and self.note is None:
            raise ValueError(f"{self.name!r} is {self.state}; `note` must say how or why")


class Area(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the project and its rows."""

    name: str
    rows: list[Row]


class Deliverables(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All areas, in the order of the page."""

    areas: list[Area]

    @property
    def rows(self) -> list[Row]:
        """Every row, area after area."""
        return [row for area in self.areas for row in area.rows]


def read_deliverables(root: Path) -> Deliverables:
    """Read the table of the project in `root`; raises ConfigError with the place of a mistake."""
    table = read_yaml(root / SOURCE, Deliverables)
    for area in table.areas:
        names = Counter(row.name for row in area.rows)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ConfigError(f"{SOURCE}: {area.name} has {twice[0]!r} twice; name each row once.")
    return table


def page(table: Deliverables) -> str:
    """Return `docs/deliverables.md`: one table per area."""
    counts = Counter(row.state for row in table.rows)
    total = ", ".join(f"{counts[state]} {state}" for state in STATES)
    return "\n".join([_INTRODUCTION, f"{total}.", *map(_section, table.areas)])


def _section(area: Area) -> str:
    head = f"\n## {area.name}\n\n| what | files | check | target | state |\n|---|---|---|---|---|"
    return "\n".join([head, *map(_line, area.rows), ""])


def _line(row: Row) -> str:
    files = ", ".join(_link(path) for path in row.files) or "none"
    state = f"**{row.state}**" if row.note is None else f"**{row.state}**: {row.note}"
    cells = (row.name, files, f"`{row.check}`", row.target, state)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _link(path: str) -> str:
    if path.startswith("build/"):
        return f"`{path}`"
    shown = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
    return f"[{path}]({shown})"
