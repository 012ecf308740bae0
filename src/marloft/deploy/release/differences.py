"""What changes from one release to the next, in lines that people read."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from marloft.contract.policy import LogPolicy
from marloft.contract.release import (
    Allocation,
    Release,
    ReleasedModel,
    ReleasedVersion,
    Rollout,
)
from marloft.deploy.release.decisions import Draft

# TorchServe takes these from the registration and has no call that changes them afterwards.
_AT_START_ONLY = ("batch_size", "max_batch_delay_ms")
Said = Release | Draft


def differences(before: Said | None, after: Said) -> list[str]:
    """Return one line for each thing that `after` says and `before` did not."""
    old = before.models if before is not None else {}
    lines: list[str] = []
    if before is not None and before.default_model != after.default_model:
        lines.append(f"default model: {before.default_model} → {after.default_model}")
    for name in sorted({*old, *after.models}):
        lines += [f"{name}: {text}" for text in _model(old.get(name), after.models.get(name))]
    was = before.workflows if before is not None else []
    lines += [f"workflow {name}: starts" for name in after.workflows if name not in was]
    lines += [f"workflow {name}: ends" for name in was if name not in after.workflows]
    log = before.log if before is not None else LogPolicy()
    return lines + [f"log: {text}" for text in _fields(log, after.log)]


def warnings(before: Said | None, after: Said) -> list[str]:
    """Return what `after` changes that TorchServe takes only at its next start."""
    if before is None:
        return []
    found = []
    for name, model in after.models.items():
        old = before.models[name].versions if name in before.models else {}
        for version, pinned in model.versions.items():
            then = old.get(version)
            if then is None or then.sha256 != pinned.sha256:
                continue
            late = [text for text in _settings(then, pinned) if text.startswith(_AT_START_ONLY)]
            if late:
                found.append(
                    f"{name} {version}: {', '.join(late)} takes effect at TorchServe's next "
                    "start; stop `marloft serve` and start it, or deploy another version."
                )
    return found


def _model(before: ReleasedModel | None, after: ReleasedModel | None) -> Iterator[str]:
    if before is None and after is not None:
        yield f"new, default {after.default}"
        yield from (f"version {v}: new, sha256 {_short(p)}" for v, p in after.versions.items())
        yield from _experiment(None, after.allocation)
        yield from (f"guardrail {text}" for text in _set(after.guardrails))
        yield from (f"limit {text}" for text in _set(after.limits))
    elif after is None:
        yield "leaves, with all its versions"
    elif before is not None:
        yield from _versions(before, after)
        yield from _default(before, after)
        if before.shadow != after.shadow:
            yield f"shadow: {before.shadow or 'none'} → {after.shadow or 'none'}"
        yield from _experiment(_own(before), _own(after))
        yield from (f"guardrail {text}" for text in _fields(before.guardrails, after.guardrails))
        yield from (f"limit {text}" for text in _fields(before.limits, after.limits))
        for alias in sorted({*before.aliases, *after.aliases}):
            then, now = before.aliases.get(alias), after.aliases.get(alias)
            if then != now:
                yield f"alias {alias}: {then or 'none'} → {now or 'none'}"


def _versions(before: ReleasedModel, after: ReleasedModel) -> Iterator[str]:
    for version, pinned in after.versions.items():
        then = before.versions.get(version)
        if then is None:
            yield f"version {version}: new, sha256 {_short(pinned)}"
        elif then.sha256 != pinned.sha256:
            yield f"version {version}: other bytes, sha256 {_short(then)} → {_short(pinned)}"
        if then is not None:
            yield from (f"version {version}: {text}" for text in _settings(then, pinned))
    for version in before.versions:
        if version not in after.versions:
            loaded = ", stays loaded for a rollback" if version in after.standby else ""
            yield f"version {version}: leaves the routes{loaded}"


def _default(before: ReleasedModel, after: ReleasedModel) -> Iterator[str]:
    old, new = before.rollout, after.rollout
    if new is not None and (old is None or old.version != new.version):
        if old is not None:
            yield f"roll-out of {old.version}: ends"
        yield f"default: {new.before} → {new.version} by steps of {_steps(new)}"
        if new.retire:
            yield f"when the roll-out ends, {', '.join(new.retire)} leaves the routes"
    elif old is not None and new is not None and old.step != new.step:
        yield f"roll-out of {new.version}: {_share(old)} → {_share(new)}"
    elif old is not None and new is None:
        yield f"roll-out of {old.version}: ends, default {after.default}"
    elif before.default != after.default:
        yield f"default: {before.default} → {after.default} at once"


def _experiment(before: Allocation | None, after: Allocation | None) -> Iterator[str]:
    if before == after:
        return
    if before is not None and (after is None or before.name != after.name):
        yield f"experiment {before.name}: ends"
    if after is not None and (before is None or before.name != after.name):
        yield f"experiment {after.name}: starts, {_arms(after)}"
    elif before is not None and after is not None:
        yield f"experiment {after.name}: {_arms(before)} → {_arms(after)}"


def _own(model: ReleasedModel) -> Allocation | None:
    """Return the model's experiment; a roll-out's split is shown as its step."""
    return model.allocation if model.rollout is None else None


def _arms(allocation: Allocation) -> str:
    return ", ".join(f"{arm.name} {arm.version}: {arm.weight}" for arm in allocation.arms)


def _steps(rollout: Rollout) -> str:
    plan = rollout.plan
    shares = ", ".join(map(str, plan.steps))
    return f"{shares}, 100 %, each for {plan.hold_s:g} s and {plan.min_requests} requests"


def _share(rollout: Rollout) -> str:
    steps = rollout.plan.steps
    return f"{steps[rollout.step]} %" if rollout.step < len(steps) else "100 %"


def _settings(before: ReleasedVersion, after: ReleasedVersion) -> Iterator[str]:
    yield from _fields(before.settings, after.settings)


def _fields(before: Struct, after: Struct) -> Iterator[str]:
    old, new = _values(before), _values(after)
    for name, value in new.items():
        if old[name] != value:
            yield f"{name} {_text(old[name])} → {_text(value)}"


def _set(value: Struct) -> Iterator[str]:
    yield from (f"{name} {_text(v)}" for name, v in _values(value).items() if v is not None)


def _values(value: Struct) -> Mapping[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return "none" if value is None else str(value)


def _short(pinned: ReleasedVersion) -> str:
    return f"{pinned.sha256[:12]}…"
