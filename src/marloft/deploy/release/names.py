"""How people name a version: `2.0`, an alias, `ranker@2.0` or `ranker@champion`."""

from marloft.contract.release import Release
from marloft.errors import ReleaseError, nearest


def find_version(
    release: Release, model: str | None = None, version: str | None = None
) -> tuple[str, str | None]:
    """Return the model and the version that are meant; None when no version is named.

    Args:
        release: where aliases are looked up.
        model: `ranker` or `ranker@VERSION`; by default the default model.
        version: a version or an alias. A version does not have to be released.

    Raises:
        ReleaseError: there is no such model or alias, or two versions are named.
    """
    name, at, named = (model or release.default_model).partition("@")
    if at and version is not None:
        raise ReleaseError(
            f"{model} and --version {version} both name a version; leave one of them out."
        )
    if name not in release.models:
        hint = nearest(name, release.models)
        raise ReleaseError(f"release {release.release} has no model {name!r}.{hint}")
    wanted = named if at else version
    if wanted is None or wanted[:1].isdigit():
        return name, wanted
    released = release.models[name]
    if wanted not in released.aliases:
        hint = nearest(wanted, {*released.aliases, *released.versions})
        raise ReleaseError(f"{name} has no alias {wanted!r} in release {release.release}.{hint}")
    return name, released.aliases[wanted]
