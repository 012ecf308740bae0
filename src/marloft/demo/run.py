"""How the demo runs: steps in order, timed, each command shown, nothing left behind."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
from msgspec import Struct
from rich.console import Console

from marloft.deploy.ports import Ports
from marloft.errors import MarloftError, StepError
from marloft.files import write_json

OUT = Path("build/demo")
SUMMARY_KEYS = (
    *("data", "train", "optimize", "archives", "serving", "experiment", "planted", "fairness"),
)


class Demo:
    """Where the demo works, and what it has found out so far (`summary.json`).

    Paths are relative to the project folder, which is the working directory. What `running` holds
    is ended after the last step, or when one fails.
    """

    def __init__(
        self,
        port_offset: int,
        console: Console,
        *,
        var: Path = OUT / "var",
        store: Path = OUT / "model_store",
    ) -> None:
        """Prepare a run; its state and archives lie below `OUT` unless said otherwise."""
        self.out, self.var, self.store = OUT, var, store
        self.serve_log = self.out / "serve.log"
        self.ports = Ports(offset=port_offset)
        self.gateway = f"http://127.0.0.1:{self.ports.gateway}"
        self.console = console
        self.running = ExitStack()
        self.summary: dict[str, Any] = dict.fromkeys(SUMMARY_KEYS)
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
        words[0] = program(words[0])
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


def program(name: str) -> str:
    """Return the path of a command that was installed next to this Python."""
    return str(Path(sys.executable).with_name(name))


def run_steps(demo: Demo, steps: tuple[Step, ...]) -> None:
    """Run the steps in order and write `summary.json` after each.

    Raises:
        StepError: a step failed; the message begins with its name.
    """
    shutil.rmtree(demo.out, ignore_errors=True)
    demo.out.mkdir(parents=True)
    with demo.running:
        for number, step in enumerate(steps, start=1):
            demo.console.rule(f"{number}/{len(steps)}  {step.title}", align="left", style="dim")
            started = time.monotonic()
            try:
                step.run(demo)
            except (MarloftError, OSError, httpx2.HTTPError) as error:
                raise StepError(f"step {step.name!r} failed: {error}") from error
            demo.summary["seconds"][step.name] = round(time.monotonic() - started, 1)
            write_json(demo.out / "summary.json", demo.summary)
