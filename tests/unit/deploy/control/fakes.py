"""A TorchServe and a gateway in memory, as far as the controller can tell them from real ones.

They make no connections of their own: each would read the machine's certificates first.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from marloft.archive.manifest import read_manifest
from marloft.contract.allocation import allocation_path
from marloft.contract.live import Live, WatchState, live_path
from marloft.contract.manifest import WorkerSettings, archive_path, parse_archive_file
from marloft.contract.release import (
    Key,
    Release,
    ReleasedModel,
    ReleasedVersion,
    release_path,
    releases_folder,
)
from marloft.deploy.control.controller import Connections, Controller
from marloft.deploy.control.golden_gate import GoldenGate
from marloft.deploy.control.probes import Probes
from marloft.deploy.faults import Faults
from marloft.deploy.gateway.acceptance import Acceptance, Accepted, Kind
from marloft.deploy.gateway.discovery_files import file_version
from marloft.deploy.gateway.in_flight import SETTLE_S, InFlight
from marloft.deploy.ports import Ports
from marloft.deploy.project import Project
from marloft.deploy.state.live_report import LiveReport
from marloft.deploy.torchserve.management import ManagementApi, RefusedError, Registered
from marloft.deploy.torchserve.workflows import WorkflowApi
from marloft.errors import ServingError
from marloft.files import read_json, sha256_file, write_json


class FakeTorchServe(ManagementApi):
    """Holds what was registered; its workers are READY at the next look unless told otherwise."""

    def __init__(self) -> None:
        self.models: dict[Key, Registered] = {}
        self.closed = False
        self.silent = False
        self.refuses: str | None = None
        self.starting: set[Key] = set()
        self.processes: dict[Key, int] = {}
        self.asked = 0

    def close(self) -> None:
        self.closed = True

    def registered(self) -> dict[Key, Registered]:
        self.asked += 1
        if self.silent:
            raise ServingError("TorchServe does not answer GET /models: silent.")
        return {
            key: replace(
                found,
                state="starting" if key in self.starting else "ready",
                ready_processes=self._ready_processes(key),
            )
            for key, found in self.models.items()
        }

    def _ready_processes(self, key: Key) -> frozenset[int]:
        """Each version has a READY worker: this very process, or the one that a test names."""
        return frozenset(() if key in self.starting else {self.processes.get(key, os.getpid())})

    def register(self, archive: str, settings: WorkerSettings) -> None:
        if self.refuses is not None:
            raise RefusedError(self.refuses)
        key = parse_archive_file(archive)
        assert key is not None
        self.models[key] = Registered(
            state="ready",
            default=not any(name == key[0] for name, _ in self.models),
            min_workers=settings.workers,
            batch_size=settings.batch_size,
            max_batch_delay_ms=settings.max_batch_delay_ms,
        )

    def scale(self, name: str, version: str, workers: int) -> None:
        self.models[name, version] = replace(self.models[name, version], min_workers=workers)

    def set_default(self, name: str, version: str) -> None:
        for key, found in self.models.items():
            if key[0] == name:
                self.models[key] = replace(found, default=key[1] == version)

    def unregister(self, name: str, version: str) -> None:
        del self.models[name, version]


class FakeWorkflows(WorkflowApi):
    """The names of what was registered."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def registered(self) -> list[str]:
        return sorted(self.names)

    def register(self, archive: str) -> None:
        self.names.add(archive.removesuffix(".war"))

    def unregister(self, name: str) -> None:
        self.names.remove(name)


class FakeGoldenGate(GoldenGate):
    """The fault of each version, none by default; remembers what was asked."""

    def __init__(self) -> None:
        self.faults: dict[Key, str] = {}
        self.answer_s: dict[Key, float] = {}
        self.asked: list[Key] = []
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def check(self, archive: Path, model: str, version: str, *, batch: int = 1) -> str | None:  # noqa: ARG002
        self.asked.append((model, version))
        return self.faults.get((model, version))


class FakeInFlight(InFlight):
    """Counts nothing under way, by a clock that `settle` moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(1, clock=lambda: self.now)

    def counts(self) -> dict[Key, int] | None:
        return {}

    def settle(self) -> None:
        self.now += SETTLE_S + 1


class FakeAcceptance(Acceptance):
    """A gateway that takes each file as soon as it is there, unless it is `stuck`."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(1, Path("envoy.log"), clock=lambda: self.now)
        self.stuck = False
        self._taken: dict[Kind, str] = {}

    def look(self, files: dict[Kind, bytes | None]) -> dict[Kind, Accepted]:
        if not self.stuck:
            self._taken = {kind: file_version(content or b"") for kind, content in files.items()}
        return super().look(files)

    def versions(self) -> dict[Kind, str] | None:
        return self._taken


class FakeWatch:
    """Remembers the releases it judged; says what the test wants."""

    def __init__(self) -> None:
        self.judged: list[int] = []
        self.pauses = 0
        self.states: dict[str, WatchState] = {}
        self.error: str | None = None
        self.refused: Mapping[Key, str] = {}

    def judge(
        self,
        release: Release,
        restarts: Mapping[Key, int],  # noqa: ARG002
        refused: Mapping[Key, str],
    ) -> dict[str, WatchState]:
        self.judged.append(release.release)
        self.refused = refused
        if self.error is not None:
            raise ServingError(self.error)
        return self.states

    def pause(self) -> None:
        self.pauses += 1


class FakeProbes(Probes):
    """Asks nobody; remembers what it was to ask."""

    def __init__(self) -> None:
        self.versions: dict[Key, float] = {}
        self.health = False

    def follow(self, versions: Mapping[Key, float], *, health: bool) -> None:
        self.versions, self.health = dict(versions), health


class Bench:
    """A controller on a store with ranker 1.0 and 1.1, and all that it talks to."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.project = Project(config=folder / "none", store=store, var=folder / "var")
        self.torchserve, self.workflows = FakeTorchServe(), FakeWorkflows()
        self.gate, self.in_flight, self.watch = FakeGoldenGate(), FakeInFlight(), FakeWatch()
        self.acceptance = FakeAcceptance()
        self.said: list[str] = []
        self.probes, self.faults = FakeProbes(), Faults(lambda _: None)
        self.controller = self.successor()

    def successor(self) -> Controller:
        """Return another controller on the same folder and servers."""
        servers = Connections(
            models=self.torchserve,
            workflows=self.workflows,
            golden_gate=self.gate,
            in_flight=self.in_flight,
            acceptance=self.acceptance,
            ports=Ports(),
        )
        return Controller(
            self.project,
            servers,
            self.said.append,
            watch=self.watch,
            probes=self.probes,
            live=LiveReport(self.project.var, self.faults),
            faults=self.faults,
        )

    def pin(self, version: str, **settings: int) -> ReleasedVersion:
        """Return the store's bytes of a version, with the archive's own settings by default."""
        archive = archive_path(self.project.store, "ranker", version)
        own = read_manifest(archive).settings
        return ReleasedVersion(sha256=sha256_file(archive), settings=replace(own, **settings))

    def release(
        self, number: int, model: ReleasedModel, *, workflows: tuple[str, ...] = ()
    ) -> Release:
        """Write release `number` of this model."""
        release = Release(
            release=number,
            time="2026-01-01T00:00:00.000+00:00",
            actor="test",
            reason="test",
            models={"ranker": model},
            default_model="ranker",
            workflows=list(workflows),
        )
        write_json(release_path(releases_folder(self.project.var), number), release)
        return release

    def steps(self, count: int = 6) -> None:
        """Let the controller look some times, long enough apart for old routes to be drained."""
        for _ in range(count):
            self.controller.step()
            self.in_flight.settle()
            self.acceptance.now += 1

    def live(self) -> Live:
        """The last report."""
        return read_json(live_path(self.project.var), Live)

    @property
    def label(self) -> str:
        """What the route file says is in force."""
        return file_version(self.project.routes.read_bytes()).partition("#")[0]

    def allocation(self, experiment: str) -> dict[str, object]:
        """Return an assign node's file."""
        content = allocation_path(self.project.var, experiment).read_bytes()
        decoded: dict[str, object] = msgspec.json.decode(content)
        return decoded
