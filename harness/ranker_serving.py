"""`marloft serve` on the trained ranker's archives in a folder of its own, and ways to break it."""

import os
import shutil
import signal
from pathlib import Path
from typing import Self

import httpx2
import msgspec
import psutil

from harness.serving import Serving, free_ports, run_marloft
from marloft.archive.pack import write_archive
from marloft.contract.release import newest_number, read_release, releases_folder
from marloft.deploy.release.write import move
from marloft.errors import ConfigError, StepError

MODEL = "ranker"
REPOSITORY = Path(__file__).parents[1]
_NEEDED = ("build/export/model.onnx", "build/export/model.int8.onnx")
# What the archives are packed from.
_COPIED = ("archive_configs", "handlers", "build/export", "build/card", "build/fairness")
_OFFSETS = range(400, 2400, 100)
_HEALTHY_S = 90.0
# A step that lasts as long as any benchmark's load, with limits that a good version keeps.
_WATCHED: dict[str, object] = {
    "rollout": {"steps": [50], "hold_s": 600, "min_requests": 50},
    "guardrails": {"error_ratio": 0.01, "p99_ms": 100, "worker_restarts": 3},
}


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
        write_archive(configs / f"{name}.yaml", folder / "model_store")
    shutil.copy(REPOSITORY / "config.properties", folder)
    return folder


class RankerServing(Serving):
    """A running `marloft serve` whose verbs are run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        """Serve the archives of `folder`, split 90 to 10 between 1.0 and 2.0."""
        super().__init__(folder, free_ports(_OFFSETS))
        self.var = folder / "var"

    def __enter__(self) -> Self:
        """Apply the first release, start, and wait until it is live."""
        self.write((90, 10), ("1.0", "2.0"), "1.0")
        self.verb("apply", "--force", "--reassign")
        return super().__enter__()

    def live(self) -> int:
        """Return the newest release; to be asked after a verb has waited for it."""
        return newest_number(releases_folder(self.var))

    def verb(self, *words: str) -> None:
        """Run a verb of marloft and wait for it; raises StepError when it fails."""
        done = run_marloft(self.project, *words)
        if done.returncode != 0:
            raise StepError(f"marloft {' '.join(words)}: {done.stdout}{done.stderr}")

    def deploy(
        self,
        split: tuple[int, int] | None = None,
        versions: tuple[str, ...] = ("1.0", "2.0"),
        default: str = "1.0",
        *,
        workers: int = 1,
    ) -> None:
        """Write deployment.yaml and apply it; each version gets so many workers."""
        self.write(split, versions, default, {"workers": workers})
        self.verb("apply", "--force", "--reassign")

    def begin_rollout(self, version: str) -> None:
        """Roll `version` out and take it to its full step, where it is watched for minutes."""
        self.write(None, ("1.0", version), version, more=_WATCHED)
        self.verb("apply", "--force", "--reassign")
        first = read_release(releases_folder(self.var))
        move(self.var, first, MODEL, "advance", "the benchmark's first step is over")
        newest = self.live()
        self.wait_for(f"release {newest} is live")

    def signal_supervisor(self, number: signal.Signals) -> None:
        """Send a signal to `marloft serve` itself."""
        self.process.send_signal(number)

    def kill_worker(self, version: str) -> None:
        """Kill -9 one worker of a version."""
        self.workers(version)[0].kill()

    def workers(self, version: str) -> list[psutil.Process]:
        """Return the worker processes of a version, by TorchServe's own word."""
        url = f"http://127.0.0.1:{self.ports.management}/models/{MODEL}/{version}"
        found = httpx2.get(url, timeout=5).json()[0]["workers"]
        return [psutil.Process(each["pid"]) for each in found if each["pid"] > 0]

    def break_routes(self) -> None:
        """Put a route file in place that is not JSON, as a full disk or an editor could."""
        broken = self.project / "broken.json"
        broken.write_text('{"version_info": "99", "resources": [{')
        broken.replace(self.var / "run" / "routes" / "routes.json")

    def kill_gateway(self) -> None:
        """Kill -9 Envoy and wait until it answers again."""
        self._kill("envoy")
        self.wait_until_healthy()

    def kill_torchserve(self) -> None:
        """Kill -9 TorchServe's Java process and all workers and wait until one answers again."""
        self._kill("java", "model_service_worker.py")
        self.wait_until_healthy()

    def kill_supervisor(self) -> None:
        """Kill -9 `marloft serve` and start another."""
        self.end_at_once()
        self._start_again()

    def kill_all(self) -> None:
        """Kill -9 everything and start again."""
        self.kill_everything()
        self._start_again()

    def kill_everything(self) -> None:
        """Kill -9 everything."""
        self.end_at_once()
        self._kill("envoy", "java", "model_service_worker.py", "torchserve", "metrics")

    def resident_mb(self) -> float:
        """Return the resident memory of every process of this serving, in MiB."""
        members = [psutil.Process(self.process.pid), *self.processes("")]
        total = 0
        for member in members:
            try:
                total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20

    def _kill(self, *words: str) -> None:
        for word in words:
            for member in self.processes(word):
                member.kill()

    def processes(self, word: str) -> list[psutil.Process]:
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
            ours = str(self.project) in words or env.get("MARLOFT_VAR") == str(self.var.resolve())
            if ours and word in words and member.pid not in (os.getpid(), self.process.pid):
                found.append(member)
        return found

    def end_at_once(self) -> None:
        """Kill -9 `marloft serve` itself."""
        self.process.kill()
        self.process.wait()

    def _start_again(self) -> None:
        self.start()
        self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        """Wait until `/health` says 200."""
        self.wait_until(self.is_healthy, "good /health", _HEALTHY_S)

    def is_healthy(self) -> bool:
        """Whether `/health` says 200 within 2 s."""
        try:
            return self.client.get("/health", timeout=2).is_success
        except httpx2.HTTPError:
            return False

    def write(
        self,
        split: tuple[int, int] | None,
        versions: tuple[str, ...],
        default: str,
        settings: dict[str, object] | None = None,
        more: dict[str, object] | None = None,
    ) -> None:
        """Write deployment.yaml; `settings` are those of each version, `more` of the model."""
        every = {v: settings or {} for v in versions}
        plan: dict[str, object] = {"versions": every, "default": default, **(more or {})}
        if split is not None:
            plan["experiment"] = "experiment.yaml"
            (self.project / "experiment.yaml").write_text(_EXPERIMENT.format(*split))
        deployment = {"default_model": MODEL, "models": {MODEL: plan}}
        (self.project / "deployment.yaml").write_bytes(msgspec.yaml.encode(deployment))


_EXPERIMENT = """\
name: lifecycle
hypothesis: 2.0 ranks as well as 1.0
arms:
  - {{name: control, version: "1.0", weight: {0}}}
  - {{name: treatment, version: "2.0", weight: {1}}}
decision: {{ctr_margin: 0.1, latency_margin: 0.25}}
plan: {{users: 1000, duration: 60s}}
"""
