"""`marloft status`: what should be live, what TorchServe and the gateway say, and the difference.

Both are asked; the supervisor's report adds what they cannot know: golden answers, guardrails.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from marloft.contract.live import Live, VersionState, WatchState
from marloft.contract.manifest import workflow_node
from marloft.contract.release import (
    Key,
    Release,
    ReleasedModel,
    newest_number,
    read_release,
    releases_folder,
)
from marloft.deploy.control.actual import Actual, observe_actual
from marloft.deploy.gateway.observed_routes import ModelRoutes
from marloft.deploy.ports import Ports
from marloft.deploy.torchserve.management import Registered
from marloft.errors import ConfigError, MarloftError

# A look may wait for a registration or for golden answers; longer than this it waits for ever.
_STUCK_S = 30.0


class VersionStatus(Struct, frozen=True, kw_only=True):
    """One version of the newest release.

    `workers` is what TorchServe says of it (`ready`, `starting`, `absent`), `checked` what the
    supervisor says; both None when nobody answered.
    """

    model: str
    version: str
    role: str
    sha256: str
    workers: str | None
    checked: VersionState | None


class Status(Struct, frozen=True, kw_only=True):
    """The newest release and what is real; `drift` is every difference in words."""

    release: int
    reason: str
    serving: bool
    versions: list[VersionStatus]
    rollouts: list[str]
    watches: dict[str, WatchState]
    drift: list[str]

    @property
    def exit_code(self) -> int:
        """0: what is real is what the release says; 1: it is not, or not yet; 2: nothing runs."""
        if not self.serving:
            return 2
        return 1 if self.drift else 0


def read_status(var: Path, ports: Ports) -> Status:
    """Ask everybody and compare.

    Where the newest release is damaged, what is real is compared with the one before, as `marloft
    serve` goes on with it.

    Raises:
        ReleaseError: there is no release yet.
        ConfigError: none can be read.
    """
    release, damage = _newest_readable(releases_folder(var))
    actual = observe_actual(var, ports)
    found = compare(release, actual)
    if damage is None or not actual.serving:
        return found
    return replace(found, drift=list(dict.fromkeys([damage, *found.drift])))


def compare(release: Release, actual: Actual) -> Status:
    """Return the status of `release` in what is real; pure."""
    current = actual.live if actual.live and actual.live.release == release.release else None
    return Status(
        release=release.release,
        reason=release.reason,
        serving=actual.serving,
        versions=[
            _version(actual, current, name, version, role, sha256)
            for name, model in release.models.items()
            for version, role, sha256 in _roles(model)
        ],
        rollouts=[line for name, model in release.models.items() for line in _rollout(name, model)],
        watches=current.watches if current is not None else {},
        drift=list(_drift(release, actual)) if actual.serving else [],
    )


def _newest_readable(folder: Path) -> tuple[Release, str | None]:
    """Return the newest release that can be read, and what is wrong with the newest."""
    newest = newest_number(folder)
    try:
        return read_release(folder), None
    except (ConfigError, OSError) as error:
        for number in range(newest - 1, 0, -1):
            with suppress(MarloftError, OSError):
                return read_release(folder, number), str(error)
        raise


def roles(model: ReleasedModel, version: str) -> str:
    """Return in words what `version` does in a released model, `""` when it is not there."""
    if version in model.standby:
        return "standby"
    if version not in model.versions:
        return ""
    found = ["default"] if version == model.default else []
    if model.allocation is not None:
        total = sum(arm.weight for arm in model.allocation.arms)
        found += [
            f"{arm.name} of {model.allocation.name}, {100 * arm.weight / total:.3g} %"
            for arm in model.allocation.arms
            if arm.version == version
        ]
    if version == model.shadow:
        found.append("shadow")
    names = [alias for alias, named in model.aliases.items() if named == version]
    return "; ".join(found or ["by name only"]) + (f" ({', '.join(names)})" if names else "")


def _roles(model: ReleasedModel) -> Iterator[tuple[str, str, str]]:
    for version, pinned in model.loaded.items():
        yield version, roles(model, version), pinned.sha256


def _version(
    actual: Actual, current: Live | None, name: str, version: str, role: str, sha256: str
) -> VersionStatus:
    workers = None
    if actual.registered is not None:
        found = actual.registered.get((name, version))
        workers = "absent" if found is None else found.state
    checked = current.versions.get(name, {}).get(version) if current is not None else None
    return VersionStatus(
        model=name, version=version, role=role, sha256=sha256, workers=workers, checked=checked
    )


def _rollout(name: str, model: ReleasedModel) -> Iterator[str]:
    rollout = model.rollout
    if rollout is None:
        return
    steps = rollout.plan.steps
    share = steps[rollout.step] if rollout.step < len(steps) else 100
    yield (
        f"{name}: {rollout.before} → {rollout.version}, step {rollout.step + 1} of "
        f"{len(steps) + 1}, {share} %"
    )


def _drift(release: Release, actual: Actual) -> Iterator[str]:
    if actual.registered is None:
        yield "TorchServe does not answer"
    else:
        yield from _registry_drift(release, actual.registered)
    if actual.routed is None:
        yield "the gateway does not answer"
    else:
        yield from _route_drift(release, actual.routed)
    if actual.silent is not None:
        yield actual.silent
    else:
        yield from _report_drift(release, actual.live)


def _registry_drift(release: Release, registered: Mapping[Key, Registered]) -> Iterator[str]:
    wanted = release.loaded
    for name, version in sorted(wanted):
        found = registered.get((name, version))
        if found is None:
            yield f"{name} {version} is not registered with TorchServe"
        elif found.state != "ready":
            yield f"the workers of {name} {version} are not ready"
    for (name, version), found in sorted(registered.items()):
        if workflow_node(name) is not None:
            continue
        if (name, version) not in wanted:
            yield f"{name} {version} is registered, and release {release.release} does not name it"
        elif found.default and version != release.models[name].default:
            yield f"TorchServe's own default of {name} is {version}"


def _route_drift(release: Release, routed: Mapping[str, ModelRoutes]) -> Iterator[str]:
    for name, model in release.models.items():
        found = routed.get(name)
        if found is None or found.default is None:
            yield f"the gateway answers 503 for {name}: its default {model.default} has no route"
        if found is None:
            continue
        if found.default is not None and found.default != model.default:
            yield f"the gateway's default of {name} is {found.default}, not {model.default}"
        split = model.allocation.arms if model.allocation is not None else []
        arms = {arm.version: arm.weight for arm in split}
        if found.arms != arms:
            yield f"the gateway splits {name} {_arms(found.arms)}, not {_arms(arms)}"
        missing = [version for version in model.versions if version not in found.pinned]
        if missing:
            yield f"the gateway has no route to {name} {', '.join(missing)}"
        if found.release < release.release:
            yield f"the routes of {name} are those of release {found.release}"
    for name in sorted(set(routed) - set(release.models)):
        yield f"the gateway routes {name}, and release {release.release} does not name it"


def _report_drift(release: Release, live: Live | None) -> Iterator[str]:
    if live is None:
        yield "`marloft serve` has reported nothing yet"
        return
    yield from (f"{subject}: {why}" for subject, why in live.faults.items())
    if live.age_s > _STUCK_S:
        yield f"`marloft serve` looked after its processes {live.age_s:.0f} s ago; it is stuck"
    if live.release < release.release:
        yield f"`marloft serve` is still at release {live.release}"
        return
    for name, versions in live.versions.items():
        for version, state in versions.items():
            if state.state == "refused":
                yield f"{name} {version} is refused: {state.why}"
            elif state.state != "ready":
                yield f"{name} {version} is {state.state}"
    if live.complaint is not None:
        yield live.complaint
    elif not live.live:
        yield f"release {release.release} is not wholly live yet"


def _arms(arms: Mapping[str, int]) -> str:
    return ", ".join(f"{version}: {weight}" for version, weight in arms.items()) or "not at all"
