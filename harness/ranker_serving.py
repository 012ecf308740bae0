"""`marloft serve` on the trained ranker's archives in a folder of its own, and ways to break it."""

import os
import shutil
from pathlib import Path
from typing import Self

import httpx2
import msgspec
import psutil

from harness.serving import Serving, free_ports, run_marloft
from marloft.archive.pack import write_archive
from marloft.contract.release import newest_number, releases_folder
from marloft.errors import ConfigError, StepError

MODEL = "ranker"
REPOSITORY = Path(__file__).parents[1]
_NEEDED = ("build/export/model.onnx", "build/export/model.int8.onnx")
# What the archives are packed from.
_COPIED = ("archive_configs", "handlers", "build/export", "build/card", "build/fairness")
_OFFSETS = range(400, 2400, 100)
_HEALTHY_S = 90.0


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
        self._write((90, 10), ("1.0", "2.0"), "1.0")
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
        broken = self.project / "broken.json"
        broken.write_text('{"version_info": "99", "resources": [{')
        broken.replace(self.var / "run" / "routes" / "routes.json")

    def kill_gateway(self) -> None:
        """Kill -9 Envoy and wait until it answers again."""
        self._kill("envoy")
        self._wait_until_healthy()

    def kill_torchserve(self) -> None:
        """Kill -9 TorchServe's Java process and all workers and wait until one answers again."""
        self._kill("java", "model_service_worker.py")
        self._wait_until_healthy()

    def kill_supervisor(self) -> None:
        """Kill -9 `marloft serve` and start another."""
        self._end_at_once()
        self._start_again()

    def kill_all(self) -> None:
        """Kill -9 everything and start again."""
        self._end_at_once()
        self._kill("envoy", "java", "model_service_worker.py", "torchserve", "metrics")
        self._start_again()

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
            ours = str(self.project) in words or env.get("MARLOFT_VAR") == str(self.var.resolve())
            if ours and word in words and member.pid not in (os.getpid(), self.process.pid):
                found.append(member)
        return found

    def _end_at_once(self) -> None:
        self.process.kill()
        self.process.wait()

    def _start_again(self) -> None:
        self.start()
        self._wait_until_healthy()

    def _wait_until_healthy(self) -> None:
        self.wait_until(self._is_healthy, "good /health", _HEALTHY_S)

    def _is_healthy(self) -> bool:
        try:
            return self.client.get("/health", timeout=2).is_success
        except httpx2.HTTPError:
            return False

    def _write(
        self, split: tuple[int, int] | None, versions: tuple[str, ...], default: str
    ) -> None:
        plan: dict[str, object] = {"versions": {v: {} for v in versions}, "default": default}
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
