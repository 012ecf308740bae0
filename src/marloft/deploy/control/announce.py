"""What is live, what is refused and what rests, in words for people."""

from collections.abc import Mapping, Set
from pathlib import Path

from marloft.contract.release import Key, Release, ReleasedModel
from marloft.deploy.events import append_event
from marloft.deploy.project import Report
from marloft.deploy.torchserve.management import Registered


class Announcer:
    """Says once that a release is live, why a version is refused, and that one rests."""

    def __init__(self, var: Path, report: Report) -> None:
        """Remember whom to tell; events go to `var/events.jsonl` too."""
        self._var, self._report = var, report
        self._live = 0
        self._refused: dict[Key, str] = {}
        self._resting: Set[Key] = frozenset()

    def announce_changes(
        self, release: Release, *, is_live: bool, refused: Mapping[Key, str], resting: Set[Key]
    ) -> None:
        """Say what is new since the last call."""
        if is_live and self._live != release.release:
            self._live = release.release
            self._report(f"release {release.release} is live: {summary(release)}")
        for key, why in refused.items():
            if self._refused.get(key) != why:
                append_event(self._var, "refused", model=key[0], version=key[1], why=why)
                self._report(f"refused {key[0]} {key[1]}: {why}")
        self._refused = dict(refused)
        for name, version in sorted(resting - self._resting):
            append_event(self._var, "rests", model=name, version=version)
            self._report(f"no worker lives of {name} {version}")
        for name, version in sorted(self._resting - resting):
            append_event(self._var, "rests no more", model=name, version=version)
            self._report(f"a worker is back of {name} {version}")
        self._resting = frozenset(resting)


def summary(release: Release) -> str:
    """Return every model with its default version, its other ones and its split."""
    return "; ".join(_describe(name, model) for name, model in release.models.items())


def drift(release: Release, registered: Mapping[Key, Registered]) -> str | None:
    """Return which settings differ from the release and cannot be changed at run time."""
    found = [
        f"{name} {version} runs with {setting} {runs}, release {release.release} says {says}"
        for name, model in release.models.items()
        for version, pinned in model.loaded.items()
        if (is_now := registered.get((name, version))) is not None
        for setting, runs, says in (
            ("batch_size", is_now.batch_size, pinned.settings.batch_size),
            ("max_batch_delay_ms", is_now.max_batch_delay_ms, pinned.settings.max_batch_delay_ms),
        )
        if runs != says
    ]
    if not found:
        return None
    return f"{'; '.join(found)}; TorchServe takes it when the version is loaded again."


def _describe(name: str, model: ReleasedModel) -> str:
    others = [version for version in model.versions if version != model.default]
    text = f"{name} {model.default}" + (f" (also {', '.join(others)})" if others else "")
    if model.allocation is not None:
        arms = ", ".join(f"{arm.name} {arm.version}: {arm.weight}" for arm in model.allocation.arms)
        text += f", {model.allocation.name} splits users over {arms}"
    return text
