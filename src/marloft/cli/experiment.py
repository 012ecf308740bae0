"""`marloft experiment`: assign, size, design and analyze an experiment from its file."""

import csv
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from marloft.assignment import arm_of_bucket, bucket, total_weight
from marloft.cli.options import JsonOption
from marloft.contract.predict_api import UNIT_PATTERN
from marloft.errors import ConfigError, DataError
from marloft.experiment.design import Experiment, allocation_of, read_experiment
from marloft.files import to_json, write_atomic

if TYPE_CHECKING:
    from marloft.experiment.results import Report

# The statistics libraries take two seconds to import, so the commands that need them do it.
# ruff: noqa: PLC0415
app = typer.Typer(
    no_args_is_help=True, help="Assign users, plan the size, write the design, analyze the logs."
)

File = Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", help="The experiment's file.")]
Var = Annotated[
    Path, typer.Option(envvar="MARLOFT_VAR", help="Run-time state: log/ and releases/.")
]


@app.command()
def assign(
    experiment: File,
    units: Annotated[Path, typer.Option(help="User ids, one a line; - reads standard input.")],
) -> None:
    """Print which arm each user belongs to, as CSV unit,bucket,arm, from the file alone.

    Example: marloft experiment assign workflows/feed_ab/experiment.yaml --units users.txt

    Read on: docs/experiment.md.
    """
    split = allocation_of(read_experiment(experiment))
    total = total_weight(split)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["unit", "bucket", "arm"])
    for unit in _read_units(units):
        number = bucket(split.salt, unit, total)
        writer.writerow([unit, number, arm_of_bucket(split, number)])
    typer.echo(text.getvalue(), nl=False)


@app.command()
def size(
    experiment: File,
    var: Annotated[
        Path | None, typer.Option(help="Take CTR and its spread from control's users in this log.")
    ] = None,
    ctr: Annotated[float | None, typer.Option(help="Baseline CTR, when there is no log.")] = None,
    impressions: Annotated[float, typer.Option(help="Shown items per user, with --ctr.")] = 3.0,
    design_effect: Annotated[
        float, typer.Option(help="How much more users differ than chance, with --ctr; 1 = not.")
    ] = 1.0,
    effect: Annotated[
        float | None, typer.Option(help="Relative CTR difference; default: the file's margin.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many users per arm show the CTR margin (or find a difference of --effect).

    Example: marloft experiment size workflows/feed_ab/experiment.yaml --ctr 0.6 --design-effect 2

    Read on: docs/experiment.md.
    """
    from marloft.experiment.baseline import moments_from_log
    from marloft.experiment.size import Baseline, baseline_moments, detectable, size_for

    design = read_experiment(experiment)
    if (var is None) == (ctr is None):
        raise ConfigError("size needs a baseline: give --var FOLDER or --ctr NUMBER, one of them.")
    if var is not None:
        known = moments_from_log(design, var)
    else:
        given = Baseline(
            ctr=ctr or 0.0, impressions_per_user=impressions, design_effect=design_effect
        )
        known = baseline_moments(given)
    rule = design.decision
    difference = rule.ctr_margin if effect is None else effect
    found = size_for(known, difference, rule.alpha, rule.power)
    share = design.plan.users / sum(arm.weight for arm in design.arms)
    control, candidate = (arm.weight * share for arm in design.arms[:2])
    seen = detectable(known, control, candidate, rule.alpha, rule.power)
    if as_json:
        typer.echo(to_json({"size": found, "detectable_with_plan": seen}).decode(), nl=False)
        return
    typer.echo(
        f"{found.users_per_arm:,} users per arm for a relative CTR difference of "
        f"{found.relative:.1%} (alpha {rule.alpha:g}, power {rule.power:g}; CTR {found.mean:.4f}, "
        f"standard deviation per user {found.variance**0.5:.4f})."
    )
    typer.echo(f"The planned {design.plan.users:,} users, split by the weights, find {seen:.1%}.")


@app.command()
def design(
    experiment: File,
    out: Annotated[Path, typer.Option(help="The Markdown file to write.")] = Path(
        "experiment_design.md"
    ),
) -> None:
    """Write the design in words, for review before the experiment starts.

    Example: marloft experiment design workflows/feed_ab/experiment.yaml --out design.md

    Read on: docs/experiment.md.
    """
    from marloft.experiment.document import design_document

    write_atomic(out, design_document(read_experiment(experiment)))
    typer.echo(str(out))


@app.command()
def analyze(
    experiment: File,
    var: Var = Path("var"),
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default build/reports/NAME.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Analyze the logs and write report.html, report.md and report.json.

    Ends with 0 for any decision and with 2 when a check refuses the report; the names of the
    failed checks are on standard error.

    Example: marloft experiment analyze workflows/feed_ab/experiment.yaml --var var

    Read on: docs/experiment.md.
    """
    from marloft.experiment.analyze import analyze as run
    from marloft.experiment.report import write_report

    design = read_experiment(experiment)
    if not (var / "log").is_dir():
        raise DataError(f"{var} holds no log/ folder; name the folder that the server wrote to.")
    report = run(design, var)
    paths = write_report(design, report, out or Path("build/reports") / design.name)
    if as_json:
        typer.echo(to_json(report).decode(), nl=False)
    else:
        _print_report(design, report, paths[0])
    if report.failed:
        for check in report.failed:
            typer.echo(f"refused: {check.code}: {check.culprit}: {check.message}.", err=True)
        raise typer.Exit(2)


def _read_units(path: Path) -> list[str]:
    if str(path) != "-" and not path.is_file():
        raise DataError(f"{path} is not a file; give a file with one user id a line.")
    text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    units = text.splitlines()
    for number, unit in enumerate(units, start=1):
        if not re.match(UNIT_PATTERN, unit):
            raise DataError(
                f"{path}:{number}: {unit!r} is not a user id; allowed are 1 to 128 of "
                "A-Z a-z 0-9 . _ : @ -, one id a line."
            )
    return units


def _print_report(design: Experiment, report: "Report", page: Path) -> None:
    table = Table(title=f"Experiment {design.name}")
    for column in ("arm", "version", "users", "requests", "CTR", "model time ms"):
        table.add_column(column, justify="left" if column in {"arm", "version"} else "right")
    for arm in report.results.arms:
        ctr = "-" if arm.ctr is None else f"{arm.ctr:.4f}"
        model_time = "-" if arm.model_time_ms is None else f"{arm.model_time_ms:.3f}"
        counts = (f"{arm.users:,}", f"{arm.requests:,}")
        table.add_row(arm.name, arm.version, *counts, ctr, model_time)
    Console().print(table)
    for reason in report.reasons if report.results.effects else []:
        typer.echo(f"- {reason}")
    typer.echo(f"decision: {report.decision}")
    typer.echo(f"report: {page}")
