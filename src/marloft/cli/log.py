"""`marloft log`, `marloft trace`: what was served, to view, to export and to check."""

import contextlib
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import typer

from marloft.cli.forget import forget_user
from marloft.cli.options import VAR, JsonOption, VarOption
from marloft.contract.outcome_api import LABEL_EVENT
from marloft.contract.shown import is_ranked
from marloft.errors import ConfigError
from marloft.files import to_json
from marloft.logs.export import ExportKind, export
from marloft.logs.lines import LastLines, Line
from marloft.logs.segments import FOLDERS
from marloft.logs.stat import LogStat, mismatches, stat
from marloft.logs.trace import Trace, TracedOutcome, trace
from marloft.logs.words import answer_in_words

app = typer.Typer(help="What was served: view, export, check, forget.", no_args_is_help=True)
app.command("forget")(forget_user)
_FOLLOW_S = 0.5
Kind = Literal["predictions", "outcomes"]


@app.command()
def tail(
    kind: Annotated[str, typer.Argument(help="`predictions` or `outcomes`.")] = "predictions",
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the last records.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", help="Continue until Ctrl-C.")] = False,
    version: Annotated[str | None, typer.Option(help="Only this version's, such as 2.0.")] = None,
    status: Annotated[int | None, typer.Option(help="Only this HTTP status, such as 500.")] = None,
    as_json: JsonOption = False,
    var: VarOption = VAR,
) -> None:
    """Show the last records, one line each; with --json as they are in the log.

    Example: marloft log tail -n 20 --status 500

    Read on: docs/log.md.
    """
    _choose("kind", kind, get_args(Kind))
    if kind == "outcomes" and (version or status):
        raise ConfigError("outcomes have no --version or --status; leave them out.")
    show = _raw if as_json else _outcome_line if kind == "outcomes" else _prediction_line

    def wanted(record: dict[str, Any]) -> bool:
        right_version = version is None or record.get("version") == version.removeprefix("v")
        return right_version and (status is None or record.get("status") == status)

    lines = LastLines(var / FOLDERS[kind], wanted)
    for line in lines.last(count):
        typer.echo(show(line))
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_FOLLOW_S)
            for line in lines.new():
                typer.echo(show(line))


@app.command("export")
def export_log(
    out: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    kind: Annotated[
        str, typer.Option(help="`predictions`, `outcomes`, or `joined`: outcomes with answers.")
    ] = "predictions",
    since: Annotated[str | None, typer.Option(help="From this time on, ISO 8601, UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    var: VarOption = VAR,
) -> None:
    """Write the log to a Parquet file, each request and outcome once.

    Example: marloft log export build/predictions.parquet --since 2026-01-01

    Read on: docs/log.md.
    """
    _choose("--kind", kind, get_args(ExportKind))
    chosen = msgspec.convert(kind, ExportKind)
    rows = export(var, out, chosen, _time("--since", since), _time("--until", until))
    typer.echo(f"{out}: {rows} rows.")


@app.command("stat")
def show_stat(
    check: Annotated[
        bool, typer.Option("--check", help="Compare closed segments with their count and hash.")
    ] = False,
    as_json: JsonOption = False,
    var: VarOption = VAR,
) -> None:
    """Count segments, records, duplicates and torn lines; exit 1 when --check finds a change.

    Example: marloft log stat --check

    Read on: docs/log.md.
    """
    changed = mismatches(var) if check else []
    if changed:
        # A changed segment may hold anything: its records are not counted.
        report = to_json({"mismatches": changed}).decode().rstrip()
        typer.echo(report if as_json else "\n".join(changed))
        raise typer.Exit(1)
    found = stat(var)
    if as_json:
        typer.echo(to_json({"logs": found, "mismatches": changed}), nl=False)
        return
    for each in found:
        typer.echo("\n".join(_stat_lines(each)))
    if check:
        closed = sum(each.closed_segments for each in found)
        typer.echo(f"{closed} closed segments are what they were when they were closed")


def trace_request(
    request_id: Annotated[str, typer.Argument(help="The answer's `request_id`.")],
    as_json: JsonOption = False,
    var: VarOption = VAR,
) -> None:
    """Follow one request from unit to outcome; exit 1 when a hop is missing, and say which.

    Example: marloft trace b9e81e95-3eb4-47b7-b092-3d99361de83d

    Read on: docs/log.md.
    """
    found = trace(var, request_id)
    if as_json:
        typer.echo(to_json(found), nl=False)
    else:
        typer.echo("\n".join(_trace_lines(found)))
    if found.missing:
        raise typer.Exit(1)


def _choose(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}, allowed: {', '.join(allowed)}.")


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{name} is {text!r}, must be ISO 8601: 2026-01-31T12:00.") from None


def _raw(line: Line) -> str:
    return line.raw.decode()


def _prediction_line(line: Line) -> str:
    record = line.record
    latency = record.get("latency_ms")
    words = [
        _clock(record),
        str(record.get("status")),
        f"{record.get('model')} {record.get('version')}",
        f"{latency:.1f} ms" if isinstance(latency, int | float) else "-",
        f"user {record.get('user_id') or '-'}",
    ]
    if record.get("arm"):
        words.append(f"{record.get('experiment')}/{record['arm']}")
    words.append(str(record.get("request_id")))
    answer = answer_in_words(record)
    if answer is not None:
        words.append(answer)
    if record.get("error"):
        words.append(f"error: {record['error']}")
    return "  ".join(words)


def _outcome_line(line: Line) -> str:
    record = line.record
    words = [_clock(record), f"{record.get('event')}", _named(record.get("item_id"))]
    if record.get("value") is not None:
        words.append(f"value {_value(record['value'])}")
    return "  ".join([*words, str(record.get("request_id"))])


def _named(item_id: Any, kind: str = "item") -> str:
    return "the whole answer" if item_id is None else f"{kind} {item_id}"


def _value(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    return value if isinstance(value, str) else str(value).lower()


def _clock(record: dict[str, Any]) -> str:
    return str(record.get("time")).replace("+00:00", "Z")


def _stat_lines(found: LogStat) -> list[str]:
    segments = f"{found.open_segments} open and {found.closed_segments} closed segments"
    lines = [
        f"{found.kind}: {found.records} records, {segments}, {found.size_bytes / 2**20:.1f} MiB",
        f"  {found.duplicates} duplicates, {found.torn_lines} torn lines",
    ]
    if found.forgotten:
        lines.append(f"  {found.forgotten} more were forgotten: marloft log forget")
    if found.first_time:
        lines.append(f"  {found.first_time} to {found.last_time}")
    for served in found.served:
        lines.append(
            f"  {served.model} {served.version}: {served.requests} requests, "
            f"{served.answered} answered with 200"
        )
    return lines


def _trace_lines(found: Trace) -> list[str]:
    lines = [f"request    {found.request_id}"]
    if found.attempts:
        sha = (found.archive_sha256 or "-")[:12]
        same = found.archive_sha256 is not None and found.archive_sha256 == found.released_sha256
        rows = {
            "unit": found.unit or "-",
            "release": "-" if found.release is None else str(found.release),
            "experiment": found.experiment or "-",
            "arm": f"{found.arm_meant or '-'} meant, {found.arm or '-'} served",
            "version": f"{found.version_meant or '-'} meant, {found.version} served",
            "archive": f"{sha}, {'the' if same else 'not the'} release's",
        }
        if found.answer is not None:
            rows["answer"] = found.answer
        lines += [f"{name:<11}{value}" for name, value in rows.items()]
    for each in found.attempts:
        stages = ", ".join(f"{name} {ms:g}" for name, ms in each.stages_ms.items())
        lines.append(
            f"attempt {each.attempt:<3}{_clock({'time': each.time})}  {each.status}  "
            f"{found.model} {each.version}  worker {each.worker or '-'}  ms: {stages}"
        )
        if each.error:
            lines.append(f"           {each.error}")
    lines += [_traced_line(happened, found.response) for happened in found.outcomes]
    return lines + [f"missing    {line}" for line in found.missing]


def _traced_line(happened: TracedOutcome, response: str | None) -> str:
    named = _named(happened.item_id, "item" if is_ranked(response) else "row")
    words = [_clock({"time": happened.time}), happened.event, named]
    if happened.event == LABEL_EVENT:
        words.append(f"value {_value(happened.value)}")
    if happened.position is not None:
        words.append(f"position {happened.position}")
    elif happened.item_id is not None:
        words.append("not in the answer")
    return f"outcome    {'  '.join(words)}"
