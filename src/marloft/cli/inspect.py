"""`marloft inspect`: what one archive holds, or how two differ."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marloft.archive.inspection import Description, Difference, compare
from marloft.archive.inspection import inspect as describe_archive
from marloft.archive.openapi import openapi_of
from marloft.cli.options import STORE, VAR, ArchiveArgument, JsonOption, StoreOption, VarOption
from marloft.contract.response import Response
from marloft.deploy.release.names import find_archive
from marloft.files import to_json


def inspect(
    archive: ArchiveArgument,
    other: Annotated[
        str | None, typer.Argument(help="A second one: show what it has differently.")
    ] = None,
    openapi: Annotated[
        bool, typer.Option("--openapi", help="Print the OpenAPI 3.1 document of its path instead.")
    ] = False,
    store: StoreOption = STORE,
    var: VarOption = VAR,
    json: JsonOption = False,
) -> None:
    """Show what an archive holds, or how two differ; runs no code from them.

    Example: marloft inspect ranker@champion ranker@2.0

    Read on: docs/archive.md.
    """
    path = find_archive(archive, store, var)
    first = describe_archive(path)
    if openapi:
        if other is not None:
            raise typer.BadParameter("--openapi is of one archive; leave the second one out.")
        sys.stdout.buffer.write(to_json(openapi_of(path)))
        return
    if other is None:
        _print(json, first, _description_table(first))
        return
    differences = compare(first, describe_archive(find_archive(other, store, var)))
    _print(json, differences, _difference_table(differences))


def _print(json: bool, value: Any, table: Table) -> None:
    if json:
        sys.stdout.buffer.write(to_json(value))
    else:
        Console().print(table, soft_wrap=True)


def _description_table(archive: Description) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for label, text in _lines(archive):
        table.add_row(label, escape(text))
    return table


def _lines(archive: Description) -> Iterator[tuple[str, str]]:
    yield "archive", f"{archive.name} {archive.version}  {archive.size_bytes:,} bytes"
    yield "sha256", archive.sha256
    yield "runtime", archive.runtime or "none: code only"
    for name, member in archive.members.items():
        role = {archive.artifact: "artifact", archive.handler: "handler"}.get(name, "member")
        yield role, f"{name}  {member.size_bytes:,} bytes  {member.sha256[:12]}…"
    if archive.schema is not None:
        for name, field in archive.schema.row.items():
            yield "field", f"{name}: {_short(msgspec.to_builtins(field))}"
        yield "rows", f"1 to {archive.schema.max_rows}"
        for name, field in archive.schema.parameters.items():
            yield "parameter", f"{name}: {_short(msgspec.to_builtins(field))}"
    yield "answers", _answers(archive.response)
    yield "settings", _short(msgspec.to_builtins(archive.settings))
    yield "accepts", ", ".join(archive.accepts)
    yield "requires", _short(archive.requires)
    for name, sha256 in archive.parents.items():
        yield "parent", f"{name}  {sha256[:12]}…"
    yield "golden", f"{archive.golden_answers} answers, tolerance {archive.golden_tolerance:g}"
    yield "metrics", _short(archive.metrics) or "none: no model card with metrics"
    yield "audit", archive.audit or "none"
    yield "signature", "next to it; `marloft verify` checks it" if archive.signed else "none"


def _answers(response: Response | None) -> str:
    if response is None:
        return "undeclared: see its handler"
    declared = msgspec.to_builtins(response)
    declared.pop("per", None)
    told = f"{declared.pop('type')}, one per {response.per}"
    return f"{told}, {_short(declared)}" if declared else told


def _short(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _difference_table(differences: list[Difference]) -> Table:
    table = Table("category", "what", "before", "after", box=None, pad_edge=False)
    for each in differences:
        table.add_row(each.category, escape(each.what), _cell(each.before), _cell(each.after))
    if not differences:
        table.add_row("none", "", "", "")
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = _short(value) if isinstance(value, dict) else str(value)
    # The beginning of a hash tells it from another.
    return escape(f"{text[:12]}…" if len(text) == 64 and " " not in text else text)
