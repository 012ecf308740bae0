"""Which release's routes are in force, model by model: the newest that can serve.

A release whose default version is still loading must not take the traffic from one that serves.
The choice is written into the route file's version (`7`, or `7;ranker=6` while the ranker is still
served by release 6; a hash of the file follows after `#`), so that it is observed, as all else,
and not remembered.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from marloft.contract.release import Key, Release, ReleasedVersion


class InForce(Struct, frozen=True, kw_only=True):
    """`front` names the default model; `models` has the release that each model's routes are of."""

    front: Release
    models: Mapping[str, Release]

    @property
    def label(self) -> str:
        """The route file's version: the front release, then the models that have another one."""
        other = {
            name: release.release
            for name, release in sorted(self.models.items())
            if release.release != self.front.release
        }
        return ";".join([str(self.front.release), *(f"{k}={v}" for k, v in other.items())])

    @property
    def numbers(self) -> dict[str, int]:
        """The release number by model."""
        return {name: release.release for name, release in sorted(self.models.items())}

    def versions(self) -> dict[Key, ReleasedVersion]:
        """Return every version that a route may lead to."""
        return {
            (name, version): pinned
            for name, release in self.models.items()
            for version, pinned in release.models[name].versions.items()
        }


def whole(release: Release) -> InForce:
    """Return a release in force with all its models."""
    return InForce(front=release, models=dict.fromkeys(release.models, release))


def read_label(label: str, read: Callable[[int], Release]) -> InForce | None:
    """Return what a route file's version says, None when it is none of ours.

    Raises:
        ReleaseError, ConfigError: a release that it names cannot be read.
    """
    first, *others = label.partition("#")[0].split(";")
    named = [other.partition("=") for other in others]
    numbers = [first, *(number for _, _, number in named)]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return None
    front = read(int(first))
    models = {name: read(int(number)) for name, _, number in named}
    models = {name: release for name, release in models.items() if name in release.models}
    return InForce(front=front, models=dict.fromkeys(front.models, front) | models)


def choose(newest: Release, before: InForce | None, admitted: Mapping[Key, str]) -> InForce:
    """Return what should be in force now.

    Args:
        newest: what should be live.
        before: what the routes say now, None for no routes.
        admitted: the SHA-256 of each version that may get traffic.

    A model moves to the newest release when its default version there is admitted, and the arms of
    its split if the release before served. Else it stays with the release before, while that one's
    default is admitted. Else it is the newest that answers, with 503 for what is not admitted: a
    fresh start never shows an older release.
    """
    models = {name: _chosen(name, newest, before, admitted) for name in newest.models}
    front = newest
    if before is not None and before.front.release != newest.release:
        old, new = before.front.default_model, newest.default_model
        holder = models.get(old) or before.models.get(old)
        if not _serves(new, models[new], admitted) and _serves(old, holder, admitted):
            front = before.front
            # Models that the newest release dropped go together with the default model.
            models = {n: r for n, r in before.models.items() if n not in models} | models
    return InForce(front=front, models=models)


def _chosen(
    name: str, newest: Release, before: InForce | None, admitted: Mapping[Key, str]
) -> Release:
    old = before.models.get(name) if before is not None else None
    if old is None or old.release == newest.release or not _serves(name, old, admitted):
        return newest
    if _serves(name, newest, admitted) and _splits(name, newest, admitted):
        return newest
    return old


def _serves(name: str, release: Release | None, admitted: Mapping[Key, str]) -> bool:
    if release is None or name not in release.models:
        return False
    return _is_admitted(name, release, release.models[name].default, admitted)


def _splits(name: str, release: Release, admitted: Mapping[Key, str]) -> bool:
    allocation = release.models[name].allocation
    arms = allocation.arms if allocation is not None else []
    return all(_is_admitted(name, release, arm.version, admitted) for arm in arms)


def _is_admitted(name: str, release: Release, version: str, admitted: Mapping[Key, str]) -> bool:
    pinned = release.models[name].versions.get(version)
    return pinned is not None and admitted.get((name, version)) == pinned.sha256
