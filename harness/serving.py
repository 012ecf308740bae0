"""`marloft serve` as a child process on a project's folder, and the ports it may take."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import httpx2

from marloft.contract.release import newest_number, releases_folder
from marloft.deploy.ports import Ports, check_free
from marloft.errors import ServingError, StepError

MARLOFT = str(Path(sys.executable).with_name("marloft"))
_LIVE_S = 90.0


def run_marloft(project: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a verb in the project's folder, whatever its exit code; its output is kept."""
    command = [MARLOFT, *map(str, words)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def free_ports(offsets: Iterable[int]) -> Ports:
    """Return the ports of the first offset at which nobody listens.

    Raises:
        ServingError: something listens at each of them.
    """
    for offset in offsets:
        ports = Ports(offset=offset)
        try:
            check_free(ports)
        except ServingError:
            continue
        return ports
    raise ServingError("no set of ports is free; stop other servers.")


class Serving:
    """A running `marloft serve`; use it as a context manager."""

    def __init__(self, project: Path, ports: Ports, *options: str) -> None:
        """Prepare to serve a project's newest release, with more options of the verb."""
        self.project, self.ports, self.options = project, ports, options
        self.gateway = f"http://127.0.0.1:{ports.gateway}"
        self.client = httpx2.Client(base_url=self.gateway, timeout=30)
        self.console = project / "serve.log"
        self.environment = dict(os.environ)

    def __enter__(self) -> Self:
        """Start, and wait until the newest release is live."""
        self.start()
        try:
            newest = newest_number(releases_folder(self.project / "var"))
            self.wait_for(f"release {newest} is live", _LIVE_S)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; nothing is left running."""
        self.stop()

    def start(self) -> None:
        """Start the child process; its console is a new file."""
        command = [MARLOFT, "serve", "--port-offset", str(self.ports.offset), *self.options]
        with self.console.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.project,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask for the end and return the exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def wait_for(self, line: str, limit_s: float = 60) -> None:
        """Return when the console shows `line`; raises StepError as `wait_until` does."""
        self.wait_until(lambda: line in self.console.read_text(), repr(line), limit_s)

    def wait_until(self, ready: Callable[[], bool], what: str, limit_s: float) -> None:
        """Return when `ready` says so; `what` names it in the error.

        Raises:
            StepError: the process ended, or `limit_s` seconds have passed.
        """
        deadline = time.monotonic() + limit_s
        while not ready():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = "it ended" if ended else f"not in {limit_s:g} s"
                raise StepError(f"marloft serve: no {what}: {why}:\n{self.console.read_text()}")
            time.sleep(0.1)
