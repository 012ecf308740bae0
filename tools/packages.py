"""The packages of marloft: the table of docs/architecture.md, and the picture of docs/packages.md.

    python -m tools.packages > docs/packages.md

The table says what each package may import; the picture is drawn from what the source does import.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from tools.imports import Graph, import_graph, modules, reduced

REPOSITORY = Path(__file__).parents[1]
ROOT = "marloft"
_ROW = re.compile(r"^\| (`[a-z_.`, ]+`) \| (.+) \| (nothing|`[a-z_.`, ]+`) \|$", re.MULTILINE)
_NAME = re.compile(r"`([a-z_.]+)`")
_PAGE = """\
# Packages

An arrow reads "imports"; one that a path over others says already is left out. The table in
[architecture.md](architecture.md#the-house) has what each package is for and all that it may
import. This page is made by `python -m tools.packages > docs/packages.md`.

```mermaid
flowchart TD
{lines}
```
"""


class Package(Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        names: packages or modules below `marloft`, as `deploy.release`; they belong together.
        subject: what is in them.
        may_import: packages or modules below `marloft`, with all that is in them.
    """

    names: tuple[str, ...]
    subject: str
    may_import: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name of the row in the picture."""
        parent, _, first = self.names[0].rpartition(".")
        others = (name.removeprefix(f"{parent}.") for name in self.names[1:])
        return ", ".join([f"{parent}.{first}" if parent else first, *others])


def read_packages(page: str) -> list[Package]:
    """Return the rows of the table in a page's Markdown."""
    return [
        Package(
            names=tuple(_NAME.findall(names)),
            subject=subject,
            may_import=tuple(_NAME.findall(may_import)),
        )
        for names, subject, may_import in _ROW.findall(page)
    ]


def package_of(module: str, packages: list[Package]) -> Package | None:
    """Return the row with the longest name that a module, as `marloft.files`, lies in."""
    place = module.removeprefix(f"{ROOT}.")
    rows = [(name, each) for each in packages for name in each.names if lies_in(place, name)]
    return max(rows, key=lambda row: len(row[0]))[1] if rows else None


def lies_in(place: str, name: str) -> bool:
    """Whether a place is a package or module of that name, or lies in it."""
    return place == name or place.startswith(f"{name}.")


def forbidden(graph: Graph, packages: list[Package]) -> dict[str, set[str]]:
    """Return the imports that the table does not allow, by module.

    A row may import itself, and what lies in it and has a row of its own.
    """
    found: dict[str, set[str]] = {}
    for module, targets in graph.items():
        own = package_of(module, packages)
        # `import marloft` offers what people call, wherever it lies.
        for target in targets - {ROOT} if module != ROOT else ():
            place = target.removeprefix(f"{ROOT}.")
            allowed = own is not None and (
                package_of(target, packages) == own
                or any(lies_in(place, name) for name in own.names + own.may_import)
            )
            if not allowed:
                found.setdefault(module, set()).add(target)
    return found


def unused(graph: Graph, packages: list[Package]) -> dict[str, set[str]]:
    """Return what the table allows and no module makes use of, by row."""
    found = {each.label: set(each.may_import) for each in packages}
    for module, targets in graph.items():
        own = package_of(module, packages)
        if own is not None:
            places = [target.removeprefix(f"{ROOT}.") for target in targets]
            used = {name for name in own.may_import if any(lies_in(p, name) for p in places)}
            found[own.label] -= used
    return {label: names for label, names in found.items() if names}


def between_packages(graph: Graph, packages: list[Package]) -> Graph:
    """Return which rows import which, by label."""
    found: Graph = {each.label: set() for each in packages}
    for module, targets in graph.items():
        own = package_of(module, packages)
        others = (package_of(target, packages) for target in targets)
        if own is not None:
            found[own.label] |= {each.label for each in others if each is not None} - {own.label}
    return found


def render_page(arrows: Mapping[str, set[str]]) -> str:
    """Return the page with the picture, in Mermaid's language."""
    names = {label: f"p{place}" for place, label in enumerate(arrows)}
    lines = [f'  {name}["{label}"]' for label, name in names.items()]
    lines += [
        f"  {names[label]} --> {names[target]}"
        for label, targets in arrows.items()
        for target in sorted(targets)
    ]
    return _PAGE.format(lines="\n".join(lines))


def main() -> None:
    """Print the page."""
    packages = read_packages((REPOSITORY / "docs" / "architecture.md").read_text())
    graph = import_graph(modules(REPOSITORY, "src"))
    sys.stdout.write(render_page(reduced(between_packages(graph, packages))))


if __name__ == "__main__":
    main()
