"""What is live, in words for people."""

from collections.abc import Mapping

from marloft.contract.release import Release, ReleasedModel
from marloft.deploy.in_force import Key
from marloft.deploy.management import Registered


def summary(release: Release) -> str:
    """Return every model with its default version, its other ones and its split."""
    return "; ".join(_describe(name, model) for name, model in release.models.items())


def drift(release: Release, registered: Mapping[Key, Registered]) -> str | None:
    """Return which settings differ from the release and cannot be changed at run time."""
    found = [
        f"{name} {version} runs with {setting} {runs}, release {release.release} says {says}"
        for name, model in release.models.items()
        for version, pinned in (model.versions | model.standby).items()
        if (is_now := registered.get((name, version))) is not None
        for setting, runs, says in (
            ("batch_size", is_now.batch_size, pinned.settings.batch_size),
            ("max_batch_delay_ms", is_now.max_batch_delay_ms, pinned.settings.max_batch_delay_ms),
        )
        if runs != says
    ]
    if not found:
        return None
    return f"{'; '.join(found)}; TorchServe takes it when the version is loaded anew."


def _describe(name: str, model: ReleasedModel) -> str:
    others = [version for version in model.versions if version != model.default]
    text = f"{name} {model.default}" + (f" (also {', '.join(others)})" if others else "")
    if model.allocation is not None:
        arms = ", ".join(f"{arm.name} {arm.version}: {arm.weight}" for arm in model.allocation.arms)
        text += f", {model.allocation.name} splits users over {arms}"
    return text
