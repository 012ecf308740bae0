"""The demo: real data to a measured endpoint, as a list of steps that anyone can run one by one."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from marloft.contract.manifest import ArchiveSidecar, Artifact
from marloft.errors import MarloftError, StepError
from marloft.files import read_json, sidecar_path, write_json

EXPORTS = ("model.onnx", "model.torchscript")
ARCHIVES = ("ranker_v1", "ranker_torchscript", "outcomes")
LOAD_USERS = 8
LOAD_S = 35
READY_S = 60


class Demo:
    """Where the demo works, and what it has found out so far (`summary.json`).

    Paths are relative to the project folder, which is the working directory.
    """

    def __init__(self, port_offset: int, console: Console) -> None:
        self.out = Path("build/demo")
        self.var = self.out / "var"
        self.store = self.out / "model_store"
        self.port_offset = port_offset
        self.gateway = f"http://127.0.0.1:{8000 + port_offset}"
        self.console = console
        self.summary: dict[str, Any] = dict.fromkeys(
            (
                "data",
                "train",
                "optimize",
                "archives",
                "serving",
                "experiment",
                "planted",
                "fairness",
            )
        )
        self.summary |= {"var": str(self.var), "seconds": {}}

    def say(self, line: str) -> None:
        """Print one line as it is, however long."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def run(self, *command: str | Path, quiet: bool = False) -> None:
        """Run a command and show its output, a quiet one's only when it fails.

        Raises:
            StepError: the command failed; the message holds its last line.
        """
        words = [str(part) for part in command]
        self.say("  $ " + " ".join(words))
        words[0] = str(Path(sys.executable).with_name(words[0]))
        lines: list[str] = []
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as child:
            for line in child.stdout or ():
                lines.append("    " + line.rstrip())
                if not quiet:
                    self.say(lines[-1])
        if child.returncode != 0:
            if quiet:
                self.say("\n".join(lines))
            last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
            raise StepError(f"{command[0]} ended with code {child.returncode}: {last}")


class Step(Struct, frozen=True, kw_only=True):
    """One step: its name in `summary.json`, what it does, and the function that does it."""

    name: str
    title: str
    run: Callable[[Demo], None]


def data(demo: Demo) -> None:
    """Fetch MovieLens 100K and prepare the splits and feature tables."""
    demo.run("marloft", "data", "fetch")
    demo.run("marloft", "data", "prepare")
    found = read_json(Path("build/data/dataset.json"), dict[str, Any])
    demo.summary["data"] = {"name": found["name"], "rows": found["rows"]}


def train(demo: Demo) -> None:
    """Train the ranker by FSDP on two processes."""
    demo.run("torchrun", "--nproc-per-node", "2", "training/train.py")
    found = read_json(Path("build/train/result.json"), dict[str, Any])
    keys = ("valid_auc", "test_auc", "world_size", "seconds")
    demo.summary["train"] = {key: found[key] for key in keys}


def export(demo: Demo) -> None:
    """Export to ONNX and TorchScript, each compared with the trained model."""
    demo.run("python", "training/export.py")


def pack(demo: Demo) -> None:
    """Pack one archive per runtime and replay its golden answers."""
    demo.summary["archives"] = []
    for config in ARCHIVES:
        demo.run("marloft", "pack", f"archive_configs/{config}.yaml", "--out", demo.store)
    for archive in sorted(demo.store.glob("*.mar")):
        demo.run("marloft", "verify", archive, "--replay")
        found = read_json(sidecar_path(archive), ArchiveSidecar)
        demo.summary["archives"].append(
            {
                "path": str(archive),
                "name": found.name,
                "version": found.version,
                "sha256": found.sha256,
            }
        )


def serve_and_measure(demo: Demo) -> None:
    """Deploy, ask one question, and let readers load the gateway."""
    demo.run("marloft", "apply", "deployment.yaml", "--store", demo.store, "--var", demo.var)
    with serving(demo):
        show_answer(demo)
        load(demo)


STEPS = (
    Step(name="data", title="fetch and prepare real data", run=data),
    Step(name="train", title="train on two processes", run=train),
    Step(name="export", title="export to ONNX and TorchScript", run=export),
    Step(name="pack", title="pack and verify model archives", run=pack),
    Step(name="serve", title="serve behind the gateway, under load", run=serve_and_measure),
)


@contextmanager
def serving(demo: Demo) -> Iterator[None]:
    """Run `marloft serve` for the time of the block and leave no process behind."""
    command = [Path(sys.executable).with_name("marloft"), "serve", "--store", demo.store]
    command += ["--var", demo.var, "--port-offset", str(demo.port_offset)]
    console = demo.out / "serve.log"
    with console.open("wb") as log:
        child = subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until_healthy(demo, child, console)
        yield
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


def wait_until_healthy(demo: Demo, child: subprocess.Popen[bytes], console: Path) -> None:
    """Return when `GET /health` answers 200."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            lines = console.read_text(errors="replace").strip().splitlines() or ["no output"]
            raise StepError(f"marloft serve ended with code {child.returncode}: {lines[-1]}")
        try:
            if httpx.get(f"{demo.gateway}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise StepError(f"{demo.gateway}/health was not 200 in {READY_S} s; see {console}.")


def show_answer(demo: Demo) -> None:
    """Ask one question as a client would and print the answer."""
    body = '{"user_id": 7, "features": [{"item_id": 50}, {"item_id": 172}, {"item_id": 29}]}'
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{demo.gateway}/predict", content=body, headers=headers)
    demo.say(f"  POST /predict {body}")
    demo.say(f"    {answer.status_code} {answer.text}")
    if answer.status_code != 200:
        raise StepError(f"POST /predict answered {answer.status_code}: {answer.text}")


def load(demo: Demo) -> None:
    """Let Locust's readers ask for feeds; statistics start when all of them are there."""
    prefix = demo.out / "load"
    demo.run(
        *("locust", "-f", "loadtest/locustfile.py", "--headless", "--only-summary"),
        *("-u", str(LOAD_USERS), "-r", str(LOAD_USERS), "-t", f"{LOAD_S}s", "--reset-stats"),
        *("--host", demo.gateway, "--csv", prefix, "--html", f"{prefix}.html", "FeedReader"),
        quiet=True,
    )
    with (demo.out / "load_stats.csv").open() as lines:
        total = next(row for row in csv.DictReader(lines) if row["Name"] == "Aggregated")
    demo.summary["serving"] = {
        "qps": float(total["Requests/s"]),
        "p50_ms": float(total["50%"]),
        "p95_ms": float(total["95%"]),
        "p99_ms": float(total["99%"]),
        "errors": int(total["Failure Count"]),
        "requests": int(total["Request Count"]),
    }


def run_steps(demo: Demo, steps: tuple[Step, ...] = STEPS) -> None:
    """Run the steps in order; raises StepError with the failing step's name."""
    shutil.rmtree(demo.out, ignore_errors=True)
    demo.out.mkdir(parents=True)
    for number, step in enumerate(steps, start=1):
        demo.console.rule(f"{number}/{len(steps)}  {step.title}", align="left", style="dim")
        started = time.monotonic()
        try:
            step.run(demo)
        except (MarloftError, OSError, httpx.HTTPError) as error:
            raise StepError(f"step {step.name!r} failed: {error}") from error
        demo.summary["seconds"][step.name] = round(time.monotonic() - started, 1)
        write_json(demo.out / "summary.json", demo.summary)


def show_results(demo: Demo) -> None:
    """Print the table at the end."""
    found, table = demo.summary, Table(title="marloft demo", title_justify="left")
    table.add_column("what")
    table.add_column("result", justify="right")
    table.add_row("ratings", f"{found['data']['rows']:,}")
    table.add_row("test AUC (random split)", f"{found['train']['test_auc']:.4f}")
    table.add_row("training", f"{found['train']['seconds']:.1f} s on 2 processes")
    for name in EXPORTS:
        artifact = read_json(sidecar_path(Path("build/export") / name), Artifact)
        table.add_row(f"{name} against eager", f"max. difference {artifact.max_abs_diff:.1e}")
    load_found = found["serving"]
    table.add_row(
        "requests under load", f"{load_found['requests']:,}, {load_found['errors']} failed"
    )
    table.add_row("throughput", f"{load_found['qps']:,.0f} requests/s")
    table.add_row(
        "latency p50 / p95 / p99",
        "{p50_ms:.0f} / {p95_ms:.0f} / {p99_ms:.0f} ms".format(**load_found),
    )
    table.add_row("all steps", f"{sum(found['seconds'].values()):.0f} s")
    demo.console.print(table)
    demo.say(
        f"{demo.out / 'summary.json'} has it all; docs/serving.md says how to go on from here."
    )


def main(
    port_offset: Annotated[int, typer.Option(help="Added to every port; gateway: 8000.")] = 0,
) -> None:
    """Run the demo in the current project folder."""
    demo = Demo(port_offset, Console())
    try:
        run_steps(demo)
    except MarloftError as error:
        typer.echo(f"demo: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    show_results(demo)


if __name__ == "__main__":
    typer.run(main)
