"""What the supervisor observed last: asked at its endpoint, and in `var/run/live.json`.

It explains and decides nothing. What should be live is in the newest release; what is live is read
from TorchServe and the gateway each time.
"""

from pathlib import Path
from typing import Literal

from msgspec import Struct


class VersionState(Struct, frozen=True, kw_only=True):
    """How far one version is; `why` explains `refused` in one line.

    `loading`: its workers start; `checking`: they answer golden requests; `ready`: it may get
    traffic; `refused`: it never will, until its archive or the release changes.
    """

    state: Literal["loading", "checking", "ready", "refused"]
    why: str | None = None


class Reading(Struct, frozen=True, kw_only=True):
    """One guardrail's figures so far: the new version against control.

    `evidence` grows with the proof that the new version is worse (an e-value: 500 is a false alarm
    in at most 1 of 500 roll-outs); `broken` when limit and evidence agree.
    """

    guardrail: str
    value: float | None
    control: float | None
    limit: float
    evidence: float
    broken: bool


class WatchState(Struct, frozen=True, kw_only=True):
    """A version under watch: since when this step holds, what it still needs, its readings.

    `set_aside` counts the looks, about one a second, that were no evidence: more requests came
    than could be answered, or clients asked for the new version by name.
    """

    version: str
    percent: int
    held_s: float
    hold_s: float
    answered: int
    min_requests: int
    readings: list[Reading]
    set_aside: int = 0


class Live(Struct, frozen=True, kw_only=True):
    """What one observation found.

    `live` says that what runs is what the release says. `serving` names, per model, the release
    whose routes are in force: an earlier one while the versions of the newest are not ready.
    `faults` says what is wrong, by subject, while serving goes on; `restarts` counts, by process,
    the starts since `marloft serve` began. At the endpoint `var` is the state folder and `age_s`
    the seconds since the supervisor's loop came round. `release` is 0 until there was a look.
    """

    time: str
    release: int
    live: bool
    serving: dict[str, int]
    versions: dict[str, dict[str, VersionState]]
    watches: dict[str, WatchState] = {}
    complaint: str | None = None
    faults: dict[str, str] = {}
    restarts: dict[str, int] = {}
    var: str = ""
    age_s: float = 0.0


def live_path(var: Path) -> Path:
    """Return the file below the state folder."""
    return var / "run" / "live.json"
