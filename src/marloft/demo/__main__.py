"""`python -m marloft.demo`: run the steps, then print what they found."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from marloft.demo import STEPS, Demo, run_steps
from marloft.errors import reported


def main(
    port_offset: Annotated[int, typer.Option(help="Added to every port; gateway: 8000.")] = 0,
) -> None:
    """Run the demo in the current project folder."""
    with reported("demo"):
        demo = Demo(port_offset, Console())
        run_steps(demo, STEPS)
    demo.console.print(latency_table(demo.summary))
    demo.console.print(results_table(demo.summary))
    demo.say(f"{demo.out}/feed_ab/report.html explains the decision; summary.json has it all.")


def latency_table(found: dict[str, Any]) -> Table:
    """Return the table of artifacts."""
    table = Table(title="One request of 50 candidates, one thread", title_justify="left")
    for name in ("artifact", "runtime", "p50 ms", "size KiB", "test AUC"):
        table.add_column(name, justify="left" if name in ("artifact", "runtime") else "right")
    for row in found["optimize"]:
        size = f"{row['size_bytes'] / 1024:.0f}"
        auc = f"{row['test_auc']:.4f}"
        table.add_row(row["artifact"], row["runtime"], f"{row['p50_ms']:.3f}", size, auc)
    return table


def results_table(found: dict[str, Any]) -> Table:
    """Return the table of results, the decision last."""
    train, load, test = found["train"], found["serving"], found["experiment"]
    table = Table(title="marloft demo", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("result", justify="right")
    table.add_row("ratings", f"{found['data']['rows']:,}")
    table.add_row("test AUC (random split)", f"{train['test_auc']:.4f}")
    table.add_row("training", f"{train['seconds']:.1f} s on {train['world_size']} processes")
    failed = f"{load['requests']:,}, {load['errors']} failed"
    table.add_row("predictions under load", failed)
    table.add_row("predictions per second", f"{load['qps']:,.0f}")
    latencies = " / ".join(f"{load[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
    table.add_row("latency p50 / p95 / p99", f"{latencies} ms")
    for arm in test["arms"]:
        shown = f"{arm['users']} users, CTR {arm['ctr']:.4f}"
        table.add_row(f"{arm['name']} (v{arm['version']})", shown)
    low, high = (f"{bound:+.1%}" for bound in test["ci"])
    table.add_row("relative change of CTR", f"{test['effect']:+.1%} [{low}, {high}]")
    table.add_row("decision on v2.0 (INT8)", test["decision"].replace("_", " "))
    planted = found["planted"]
    table.add_row("decision on the planted v9.0", planted["decision"].replace("_", " "))
    for feature in ("gender", "age_band"):
        audited = found["fairness"][feature]
        low, high = audited["ci"]
        shown = f"{audited['value']:.3f} [{low:.3f}, {high:.3f}]"
        table.add_row(f"parity difference by {feature.replace('_', ' ')}", shown)
        table.add_row("", audited["verdict"].replace("_", " "))
    table.add_row("all steps", f"{sum(found['seconds'].values()):.0f} s")
    return table


if __name__ == "__main__":
    typer.run(main)
