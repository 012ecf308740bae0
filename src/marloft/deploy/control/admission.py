"""Which versions may get traffic: READY, with their golden answers; and why others may not."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from marloft.archive.manifest import read_manifest
from marloft.contract.live import VersionState
from marloft.contract.manifest import archive_path
from marloft.contract.release import Key, Release, ReleasedVersion
from marloft.deploy.control.golden_gate import GoldenGate, UnansweredError
from marloft.deploy.processes.worker_log import last_failure, last_words
from marloft.deploy.release.resolve import holds
from marloft.deploy.torchserve.management import Registered
from marloft.errors import MarloftError

# A worker that never was READY and was started this often again fails by itself.
_STARTS = 2
_UNANSWERED = 5
_AGAIN_S, _AGAIN_MOST_S = 30.0, 600.0
# Beyond TorchServe's own patience with a worker that starts.
_START_GRACE_S = 10.0


class _Refusal(Struct, frozen=True, kw_only=True):
    why: str
    stamp: tuple[int, int, int]
    until: float


class Admission:
    """What is known of each version since it was registered; nothing of it survives TorchServe."""

    def __init__(
        self, gate: GoldenGate, store: Path, log: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Know nothing yet.

        Args:
            gate: asks for golden answers.
            store: the model store.
            log: TorchServe's `model_log.log`, for the reason of a worker that dies.
            clock: seconds that never go back.
        """
        self._gate, self._store, self._log, self._clock = gate, store, log, clock
        self._refusals: dict[Key, _Refusal] = {}
        self._failures: dict[Key, int] = {}
        self.forget()

    def forget(self) -> None:
        """Know nothing again: TorchServe has ended, and with it all that it had loaded."""
        self.admitted: dict[Key, str] = {}
        self.held: dict[Key, str] = {}
        self.restarts: dict[Key, int] = {}
        self._workers: dict[Key, dict[str, int]] = {}
        self._since: dict[Key, float] = {}
        self._unanswered: dict[Key, int] = {}
        self._hashed: dict[Key, tuple[int, int, int]] = {}

    def defaults(self, release: Release) -> list[str]:
        """Return the archives of the default versions that served as their archive says.

        TorchServe takes the settings of what it loads at its start from the archive alone, and
        checks no bytes: the file has to be the one that the release pins.
        """
        found = []
        for name, model in release.models.items():
            pinned = model.versions[model.default]
            path = archive_path(self._store, name, model.default)
            served = self.admitted.get((name, model.default)) == pinned.sha256
            if served and holds(path, pinned) and read_manifest(path).settings == pinned.settings:
                found.append(path.name)
        return found

    def registered(self, key: Key, sha256: str) -> None:
        """Note which bytes were registered; the file in the store has just been hashed."""
        self.held[key] = sha256
        self.restarts[key] = 0
        self._hashed[key] = self._stamp(0, key)

    def track(
        self,
        number: int,
        pins: Sequence[Mapping[Key, ReleasedVersion]],
        registered: Mapping[Key, Registered],
    ) -> None:
        """Take in what TorchServe holds: count restarts, refuse what cannot start.

        Args:
            number: the release that is to be live.
            pins: what the versions are, by the releases in force first, then by the one to be live.
            registered: what TorchServe says it holds.
        """
        self._give_another_try(number)
        self._drop(registered)
        self._count_restarts(registered)
        for each in pins:
            for key in each.keys() & registered.keys():
                # Registered by an earlier controller: what the routes lead to is what runs.
                self.held.setdefault(key, each[key].sha256)
        for key, found in registered.items():
            waits = key not in self.admitted and key not in self._refusals
            if waits and found.state == "starting" and self._is_pinned(key, pins):
                self._check_start(number, key, found)

    def _is_pinned(self, key: Key, pins: Sequence[Mapping[Key, ReleasedVersion]]) -> bool:
        return any(key in each and each[key].sha256 == self.held[key] for each in pins)

    def admit_ready(self, number: int, unchecked: Mapping[Key, ReleasedVersion]) -> bool:
        """Ask versions whose workers are READY for their golden answers; admit or refuse each.

        Args:
            number: the release that is to be live.
            unchecked: the versions to ask. Once one does not answer in time, the others wait for
                the next look: busy workers would keep all of them waiting.

        Returns:
            Whether one was admitted.
        """
        before = len(self.admitted)
        for key, pinned in unchecked.items():
            if not self._admit(number, key, pinned):
                break
        return len(self.admitted) > before

    def refuse(self, number: int, key: Key, why: str, *, again: bool) -> None:
        """Keep a version out until release or archive change; `again`: or some time has passed."""
        until = math.inf
        if again:
            self._failures[key] = self._failures.get(key, 0) + 1
            wait_s = min(_AGAIN_MOST_S, _AGAIN_S * 2 ** (self._failures[key] - 1))
            until = self._clock() + wait_s
        stamp = self._stamp(number, key)
        self._refusals[key] = _Refusal(why=" ".join(why.split()), stamp=stamp, until=until)

    @property
    def answer_s(self) -> dict[Key, float]:
        """Seconds of a worker for each golden answer of a version, as the gate measured them."""
        return dict(self._gate.answer_s)

    @property
    def refused(self) -> dict[Key, str]:
        """The versions that were refused at the last look, with the reason."""
        return {key: refusal.why for key, refusal in self._refusals.items()}

    def _give_another_try(self, number: int) -> None:
        """Let go of refusals whose release, archive or time is over."""
        now = self._clock()
        for key, refusal in list(self._refusals.items()):
            if refusal.stamp != self._stamp(number, key) or now > refusal.until:
                del self._refusals[key]
                self.restarts[key] = 0
                self._since[key] = now

    def states(
        self, release: Release, registered: Mapping[Key, Registered]
    ) -> dict[str, dict[str, VersionState]]:
        """Return how far each version of the release is."""
        return {
            name: {
                version: self._state((name, version), pinned, registered.get((name, version)))
                for version, pinned in model.loaded.items()
            }
            for name, model in release.models.items()
        }

    def _state(self, key: Key, pinned: ReleasedVersion, found: Registered | None) -> VersionState:
        if key in self._refusals:
            return VersionState(state="refused", why=self._refusals[key].why)
        if self.admitted.get(key) == pinned.sha256:
            return VersionState(state="ready")
        checking = found is not None and found.state == "ready"
        return VersionState(state="checking" if checking else "loading")

    def _drop(self, registered: Mapping[Key, Registered]) -> None:
        for known in (self.admitted, self.held, self._workers, self._since):
            for key in set(known) - set(registered):
                known.pop(key)

    def _count_restarts(self, registered: Mapping[Key, Registered]) -> None:
        """A worker keeps its id when it is started again, and gets another process."""
        for key, found in registered.items():
            self._since.setdefault(key, self._clock())
            known = self._workers.setdefault(key, {})
            for worker, process in found.workers.items():
                if process < 0:
                    continue
                if known.get(worker, process) != process:
                    self.restarts[key] = self.restarts.get(key, 0) + 1
                known[worker] = process

    def _check_start(self, number: int, key: Key, found: Registered) -> None:
        waited_s = self._clock() - self._since[key]
        if self.restarts.get(key, 0) < _STARTS and waited_s < found.startup_s + _START_GRACE_S:
            return
        said = last_failure(self._log, *key) or self._silent_end(key, waited_s)
        self.refuse(number, key, f"its workers do not start: {said}", again=True)

    def _silent_end(self, key: Key, waited_s: float) -> str:
        """Return what is known of workers that leave no traceback, and what shows the line."""
        if self.restarts.get(key, 0) < _STARTS:
            return f"not READY after {waited_s:.0f} s, and no traceback in {self._log}"
        words = last_words(self._log, *key)
        said = f"last words {words!r}" if words else "no last words"
        return (
            f"they end without a traceback, as by sys.exit or os._exit ({said}); `marloft verify "
            f"{archive_path(self._store, *key)} --replay --trust` shows the line that ends them"
        )

    def _admit(self, number: int, key: Key, pinned: ReleasedVersion) -> bool:
        """Ask for the golden answers; return whether there is time for another version's."""
        archive = archive_path(self._store, *key)
        # The file was hashed at registration; hashing a large one again takes seconds.
        unchanged = self._hashed.get(key) == self._stamp(0, key)
        if not unchanged and not holds(archive, pinned):
            self.refuse(number, key, other_bytes(archive, pinned, number), again=False)
            return True
        try:
            fault = self._gate.check(archive, *key, batch=pinned.settings.batch_size)
        except UnansweredError as error:
            self._unanswered[key] = self._unanswered.get(key, 0) + 1
            if self._unanswered[key] >= _UNANSWERED:
                del self._unanswered[key]
                self.refuse(number, key, str(error), again=True)
            return False
        except MarloftError as error:
            fault = str(error)
        if fault is not None:
            self.refuse(number, key, fault, again=False)
            return True
        self.admitted[key] = pinned.sha256
        self._failures.pop(key, None)
        self._unanswered.pop(key, None)
        return True

    def _stamp(self, number: int, key: Key) -> tuple[int, int, int]:
        path = archive_path(self._store, *key)
        if not path.is_file():
            return number, 0, 0
        facts = path.stat()
        return number, facts.st_mtime_ns, facts.st_size


def other_bytes(archive: Path, pinned: ReleasedVersion, number: int) -> str:
    """Return what to say of a file that is not the one a release decided on."""
    return (
        f"{archive} is not the archive of release {number} (sha256 {pinned.sha256[:12]}…); "
        "put that file back or run `marloft apply` for the new one."
    )
