"""A `serve` whose processes, gateway and TorchServe are in memory, and the story of its calls."""

import functools
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from marloft.contract.release import ReleasedModel
from marloft.deploy import supervisor as module
from marloft.deploy.control import upkeep
from marloft.deploy.control.controller import Connections
from marloft.deploy.ports import Exposure, Ports
from marloft.deploy.processes import restarts
from marloft.deploy.processes.process import ManagedProcess
from marloft.deploy.processes.watchdog import Watchdog
from marloft.deploy.supervisor import serve
from marloft.errors import ServingError
from tests.free_ports import free_ports
from tests.unit.deploy.control.fakes import Bench, FakeWatch

LIVE = "release 1 is live: ranker 1.0"


class InMemory(ManagedProcess):
    """A process that runs when it is said to; every call is noted in the stage's story."""

    stop_patience_s = 1.0
    answer_s = 1.0

    def __init__(self, name: str, stage: "Stage") -> None:
        self.name, self.stage = name, stage
        self.alive = self.left_over = self.silent = False
        self.loads: list[Sequence[str]] = []

    def note(self, what: str) -> None:
        self.stage.story.append(f"{what} {self.name}")

    @property
    def pid(self) -> int | None:
        return 41 if self.alive else None

    def adopt(self) -> bool:
        self.alive = self.left_over
        return self.alive

    def end_earlier(self) -> None:
        self.note("end earlier")

    def load_at_start(self, archives: Sequence[str]) -> None:
        self.loads.append(archives)

    def spawn(self) -> None:
        self.note("spawn")
        self.stage.routes.append(self.stage.bench.project.routes.read_bytes())
        self.alive, self.silent = True, False

    def wait_until_ready(self) -> None:
        self.note("wait for")
        if self.name == self.stage.never_ready:
            raise ServingError(f"{self.name} was not ready in 60 s.")

    def probe(self, timeout_s: float = 1.0) -> bool:  # noqa: ARG002
        return self.alive and not self.silent

    def is_alive(self) -> bool:
        return self.alive

    def last_words(self) -> str:
        return f"{self.name} ended with code -9"

    def bound_console(self) -> None:
        self.stage.looked_after.add(f"console of {self.name}")

    def keep_record(self) -> None:
        self.stage.looked_after.add(f"record of {self.name}")

    def stop(self, patience_s: float | None = None) -> None:  # noqa: ARG002
        self.note("stop")
        self.alive = False


class ToldWatch(FakeWatch):
    """A watch whose end is part of the story."""

    def __init__(self, stage: "Stage") -> None:
        super().__init__()
        self.stage = stage

    def close(self) -> None:
        self.stage.story.append("close watch")


class Stage:
    """A `serve` on release 1 of ranker 1.0; `on` says what happens when a line is reported."""

    def __init__(self, folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = Bench(folder, store)
        self.ports = free_ports()
        self.story: list[str] = []
        self.looked_after: set[str] = set()
        self.routes: list[bytes] = []
        self.said: list[str] = []
        self.held: list[str] | None = None
        self.never_ready: str | None = None
        self.stop = threading.Event()
        self.on: dict[str, Callable[[], None]] = {LIVE: self.stop.set}
        self.server = InMemory("TorchServe", self)
        self.gateway = InMemory("Envoy", self)
        self.exporter = InMemory("exporter", self)
        for name, process in (
            ("TorchServe", self.server),
            ("Envoy", self.gateway),
            ("Exporter", self.exporter),
        ):
            monkeypatch.setattr(module, name, lambda *_, process=process: process)
        connections = Connections(
            models=self.bench.torchserve,
            workflows=self.bench.workflows,
            golden_gate=self.bench.gate,
            in_flight=self.bench.in_flight,
            acceptance=self.bench.acceptance,
            ports=Ports(),
        )
        monkeypatch.setattr(Connections, "at", lambda *_: connections)
        monkeypatch.setattr(module, "RolloutWatch", lambda *_: ToldWatch(self))
        monkeypatch.setattr(upkeep, "Watchdog", functools.partial(Watchdog, every_s=0.01))
        monkeypatch.setattr(restarts, "_SUSPECT_S", 0.1)
        monkeypatch.setattr(upkeep, "LogRetention", lambda *_: self)
        monkeypatch.setattr(module, "check_free", self._check_free)
        monkeypatch.setattr(module, "drain", self._drain)

    def _check_free(self, _: Ports, __: Exposure, *, held: Collection[str]) -> None:
        self.held = list(held)

    def delete_if_due(self) -> None:
        """Stand in for the retention of the log."""
        self.looked_after.add("log")

    def _drain(self, *_: object, **limits: float) -> int:
        self.story.append(f"drain for {limits['announce_s']:g} and {limits['limit_s']:g} s")
        return 2

    def release(self) -> None:
        model = ReleasedModel(default="1.0", versions={"1.0": self.bench.pin("1.0")})
        self.bench.release(1, model)

    def serve(self) -> None:
        serve(
            self.bench.project,
            self.ports,
            self.stop,
            self._report,
            exposure=Exposure(),
            announce_s=3.0,
        )

    def _report(self, line: str) -> None:
        self.said.append(line)
        self.on.pop(line, lambda: None)()

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the written events of these names, without time and actor."""
        lines = (self.bench.project.var / "events.jsonl").read_bytes().splitlines()
        found = [msgspec.json.decode(line) for line in lines]
        kept = [each for each in found if each["event"] in names]
        return [{k: v for k, v in each.items() if k not in {"time", "actor"}} for each in kept]
