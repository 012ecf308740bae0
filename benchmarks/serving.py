"""`marloft serve` on the ranker's archives in a folder of its own, and the ways to hurt it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx
import msgspec
import psutil

from marloft.archive.pack import pack
from marloft.contract.release import newest_number, releases_folder
from marloft.deploy.ports import Ports, check_free
from marloft.deploy.running import read_live
from marloft.errors import ConfigError, ServingError, StepError

MODEL = "ranker"
MARLOFT = str(Path(sys.executable).with_name("marloft"))
REPOSITORY = Path(__file__).parents[1]
_NEEDED = ("build/export/model.onnx", "build/export/model.int8.onnx")
# What the archives are packed from.
_COPIED = ("archive_configs", "handlers", "build/export", "build/card", "build/fairness")
_READY_S = 90.0
_FIRST_OFFSET = 400


def prepare(folder: Path, handler: str = "") -> Path:
    """Fill `folder` with the ranker's archives 1.0, 2.0 and 2.1 (2.0's parts under a new version).

    `handler` is Python code that is appended to the handler of all of them.

    Raises:
        ConfigError: the exports are not there.
    """
    for needed in _NEEDED:
        if not (REPOSITORY / needed).is_file():
            raise ConfigError(f"{needed} is missing; run `make demo` first.")
    for name in _COPIED:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name)
    with (folder / "handlers" / "ranker.py").open("a") as code:
        code.write(handler)
    configs = folder / "archive_configs"
    newer = (configs / "ranker_v2.yaml").read_text().replace('version: "2.0"', 'version: "2.1"')
    (configs / "ranker_newer.yaml").write_text(newer)
    for name in ("ranker_v1", "ranker_v2", "ranker_newer"):
        pack(configs / f"{name}.yaml", folder / "model_store")
    shutil.copy(REPOSITORY / "config.properties", folder)
    return folder


class Serving:
    """A running `marloft serve`; its verbs are run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        """Serve the archives of `folder`, split 90 to 10 between 1.0 and 2.0."""
        self.folder = folder
        self.var = folder / "var"
        self.ports = _free_ports()
        self.url = f"http://127.0.0.1:{self.ports.gateway}/predict"
        self.console = folder / "serve.log"
        # One for all questions: a new one each time costs more than a worker's answer.
        self._client = httpx.Client(timeout=2)

    def __enter__(self) -> Self:
        """Start and wait until the first release is live."""
        self._write((90, 10), ("1.0", "2.0"), "1.0")
        self.verb("apply", "--force", "--reassign")
        self._start()
        # Until all its versions are loaded a split rests, and everybody gets the default.
        self._wait(lambda: (live := read_live(self.var)) is not None and live.live)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; nothing is left running."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)

    def live(self) -> int:
        """Return the newest release; to be asked after a verb has waited for it."""
        return newest_number(releases_folder(self.var))

    def verb(self, *words: str) -> None:
        """Run a verb of marloft and wait for it; raises StepError when it fails."""
        command = [MARLOFT, *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StepError(f"marloft {' '.join(words)}: {done.stdout}{done.stderr}")

    def deploy(
        self,
        split: tuple[int, int] | None = None,
        versions: tuple[str, ...] = ("1.0", "2.0"),
        default: str = "1.0",
    ) -> None:
        """Write deployment.yaml and apply it."""
        self._write(split, versions, default)
        self.verb("apply", "--force")

    def kill_worker(self) -> None:
        """Kill -9 every worker process of TorchServe once, one after the other."""
        for worker in self._processes("model_service_worker.py"):
            worker.kill()

    def break_routes(self) -> None:
        """Put a route file in place that is not JSON, as a full disk or an editor could."""
        broken = self.folder / "broken.json"
        broken.write_text('{"version_info": "99", "resources": [{')
        broken.replace(self.var / "run" / "routes" / "routes.json")

    def kill_gateway(self) -> None:
        """Kill -9 Envoy and wait until it answers again."""
        self._kill("envoy")
        self._wait()

    def kill_torchserve(self) -> None:
        """Kill -9 TorchServe's Java process and all workers and wait until one answers again."""
        self._kill("java", "model_service_worker.py")
        self._wait()

    def kill_supervisor(self) -> None:
        """Kill -9 `marloft serve` and start it anew."""
        self.process.kill()
        self.process.wait()
        self._start()

    def kill_all(self) -> None:
        """Kill -9 everything and start anew."""
        self.process.kill()
        self.process.wait()
        self._kill("envoy", "java", "model_service_worker.py", "torchserve", "metrics")
        self._start()

    def resident_mb(self) -> float:
        """Return the resident memory of every process of this serving, in MiB."""
        members = [psutil.Process(self.process.pid), *self._processes("")]
        total = 0
        for member in members:
            try:
                total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20

    def _kill(self, *words: str) -> None:
        for word in words:
            for member in self._processes(word):
                member.kill()

    def _processes(self, word: str) -> list[psutil.Process]:
        """Return the processes that serve this folder, by a word of their command line.

        A killed supervisor's children are nobody's children any more, so they are found by what
        they were started on.
        """
        found = []
        for member in psutil.process_iter():
            try:
                words, env = " ".join(member.cmdline()), member.environ()
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            ours = str(self.folder) in words or env.get("MARLOFT_VAR") == str(self.var.resolve())
            if ours and word in words and member.pid not in (os.getpid(), self.process.pid):
                found.append(member)
        return found

    def _start(self) -> None:
        command = [MARLOFT, "serve"]
        command += ["--port-offset", str(self.ports.offset)]
        with self.console.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait()

    def _wait(self, ready: Callable[[], bool] | None = None) -> None:
        """Return when `ready`, by default when the gateway's `/health` is good."""
        deadline = time.monotonic() + _READY_S
        while not (ready or self._answers)():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StepError(f"marloft serve is not ready: {self.console.read_text()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        url = f"http://127.0.0.1:{self.ports.gateway}/health"
        try:
            return self._client.get(url).is_success
        except httpx.HTTPError:
            return False

    def _write(
        self, split: tuple[int, int] | None, versions: tuple[str, ...], default: str
    ) -> None:
        plan: dict[str, object] = {"versions": {v: {} for v in versions}, "default": default}
        if split is not None:
            plan["experiment"] = "experiment.yaml"
            (self.folder / "experiment.yaml").write_text(_EXPERIMENT.format(*split))
        deployment = {"default_model": MODEL, "models": {MODEL: plan}}
        (self.folder / "deployment.yaml").write_bytes(msgspec.yaml.encode(deployment))


_EXPERIMENT = """\
name: lifecycle
hypothesis: 2.0 ranks as well as 1.0
arms:
  - {{name: control, version: "1.0", weight: {0}}}
  - {{name: treatment, version: "2.0", weight: {1}}}
decision: {{ctr_margin: 0.1, latency_margin: 0.25}}
plan: {{users: 1000, duration: 60s}}
"""


def _free_ports() -> Ports:
    for offset in range(_FIRST_OFFSET, _FIRST_OFFSET + 2000, 100):
        ports = Ports(offset=offset)
        try:
            check_free(ports)
        except ServingError:
            continue
        return ports
    raise ServingError(f"no free set of ports from offset {_FIRST_OFFSET} on; stop other servers.")
