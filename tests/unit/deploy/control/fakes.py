"""A TorchServe and a gateway in memory, as far as the controller can tell them from real ones.

They make no connections of their own: each would read the machine's certificates first.
"""

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
from marloft.deploy.gateway.in_flight import SETTLE_S, InFlight
from marloft.deploy.gateway.route_file import routes_label
from marloft.deploy.project import Project
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
        self.asked = 0

    def close(self) -> None:
        self.closed = True

    def registered(self) -> dict[Key, Registered]:
        self.asked += 1
        if self.silent:
            raise ServingError("TorchServe does not answer GET /models: silent.")
        return {
            key: replace(found, state="starting" if key in self.starting else "ready")
            for key, found in self.models.items()
        }

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
        self.asked: list[Key] = []
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def check(self, archive: Path, model: str, version: str) -> str | None:  # noqa: ARG002
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


class FakeWatch:
    """Remembers the releases it judged; says what the test wants."""

    def __init__(self) -> None:
        self.judged: list[int] = []
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


class Bench:
    """A controller on a store with ranker 1.0 and 1.1, and all that it talks to."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.project = Project(config=folder / "none", store=store, var=folder / "var")
        self.torchserve, self.workflows = FakeTorchServe(), FakeWorkflows()
        self.gate, self.in_flight, self.watch = FakeGoldenGate(), FakeInFlight(), FakeWatch()
        self.said: list[str] = []
        self.controller = self.successor()

    def successor(self) -> Controller:
        """Return another controller on the same folder and servers."""
        servers = Connections(
            models=self.torchserve,
            workflows=self.workflows,
            golden_gate=self.gate,
            in_flight=self.in_flight,
        )
        return Controller(self.project, servers, self.said.append, watch=self.watch)

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

    def live(self) -> Live:
        """The last report."""
        return read_json(live_path(self.project.var), Live)

    @property
    def label(self) -> str:
        """What the route file says is in force."""
        return routes_label(self.project.routes.read_bytes())

    def allocation(self, experiment: str) -> dict[str, object]:
        """Return an assign node's file."""
        content = allocation_path(self.project.var, experiment).read_bytes()
        decoded: dict[str, object] = msgspec.json.decode(content)
        return decoded
