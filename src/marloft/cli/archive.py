"""`marloft pack` and `marloft verify`: build model archives and check them."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marloft.archive.pack import pack as pack_archive
from marloft.archive.replay import replay as replay_archive
from marloft.archive.sandbox.confinement import Isolation
from marloft.archive.sandbox.handler_trial import HandlerError
from marloft.archive.verify import VerifyReport
from marloft.archive.verify import verify as verify_archive
from marloft.cli.options import (
    STORE,
    VAR,
    ArchiveArgument,
    JsonOption,
    PublicKeyOption,
    RequireSignatureOption,
    StoreOption,
    VarOption,
    trust_policy,
)
from marloft.contract.manifest import ArchiveSidecar
from marloft.deploy.release.names import find_archive
from marloft.deploy.torchserve.workflows import is_workflow, pack_workflow
from marloft.files import to_json
from marloft.pages import with_paths


def pack(
    configs: Annotated[
        list[Path], typer.Argument(help="Files of archive_configs/, or a workflow.yaml.")
    ],
    out: Annotated[Path, typer.Option(help="The model store.")] = Path("model_store"),
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Run each handler first; without, for a runtime that this machine lacks.",
        ),
    ] = True,
    json: JsonOption = False,
) -> None:
    """Build model archives, or a workflow's; same inputs give the same bytes.

    Example: marloft pack archive_configs/ranker_v1.yaml

    A handler that fails is not packed. Read on: docs/archive.md.
    """
    for config in configs:
        built = pack_workflow(config, out) if is_workflow(config) else _packed(config, out, check)
        if json:
            sys.stdout.buffer.write(to_json(built))
        else:
            typer.echo(f"{out / built.file}  {built.size_bytes:,} bytes  sha256 {built.sha256}")


def _packed(config: Path, out: Path, check: bool) -> ArchiveSidecar:
    """Pack one archive; what a failing handler wrote goes to stderr before the error."""
    try:
        return pack_archive(config, out, run_handler=check)
    except HandlerError as error:
        if error.log:
            typer.echo(error.log, err=True)
        raise


def verify(
    archive: ArchiveArgument,
    public_key: PublicKeyOption = None,
    require_signature: RequireSignatureOption = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also run its golden requests in a clean process.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Replay it without a signature: you know its maker.")
    ] = False,
    store: StoreOption = STORE,
    var: VarOption = VAR,
    json: JsonOption = False,
) -> None:
    """Check a model archive without running its code; exit status 2 when it is refused.

    Only --replay runs its code, and only with a good signature or --trust.

    Example: marloft verify model_store/ranker-1.0.mar --replay --trust

    Read on: docs/archive.md.
    """
    path = find_archive(archive, store, var)
    required = require_signature or (replay and not trust)
    policy = trust_policy(public_key, required=required)
    report = replay_archive(path, policy) if replay else verify_archive(path, policy)
    if json:
        sys.stdout.buffer.write(to_json({"ok": report.ok, "report": report}))
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(2)


def _show(report: VerifyReport) -> None:
    console = Console()
    table = Table("code", "", "found", box=None, pad_edge=False)
    for check in report.checks:
        found = f"{check.culprit}: {check.message}" if check.culprit else check.message
        table.add_row(check.code, "ok" if check.ok else "FAILED", escape(found))
    console.print(table)
    if report.log is not None:
        console.print(escape(report.log), highlight=False)
    if report.isolation is not None:
        console.print(escape(describe_isolation(report.isolation)), soft_wrap=True)
    cure = with_paths("docs/archive.md has the cure for each code")
    verdict = "verified" if report.ok else f"refused; {cure}"
    named = f"{report.name} {report.version}" if report.name else report.path
    console.print(f"{escape(named)} (sha256 {report.sha256[:12]}…): {verdict}", soft_wrap=True)


def describe_isolation(isolation: Isolation) -> str:
    """Return in words what confined the handler, and what did not."""
    confined = {
        "capabilities": isolation.user,
        "network": isolation.network,
        "writable files outside": isolation.mounts,
        "other processes": isolation.processes,
    }
    denied = [name for name, holds in confined.items() if holds]
    left = [name for name, holds in confined.items() if not holds]
    text = "replayed with an empty environment and resource limits"
    if denied:
        text += f", without {', '.join(denied)}"
    if left:
        text += f". No sandbox: it had {', '.join(left)} ({isolation.why})"
    return text
