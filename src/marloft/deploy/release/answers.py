"""Versions that answer otherwise than the one whose traffic they get: clients would not read them.

An archive that declares no `response` says nothing of its answers' form, so it is not compared.
"""

from pathlib import Path
from typing import Any

import msgspec

from marloft.archive.manifest import read_manifest
from marloft.contract.manifest import archive_path
from marloft.contract.release import ReleasedModel
from marloft.contract.response import Response, properties
from marloft.contract.shown import RANKING
from marloft.deploy.release.differences import Said
from marloft.errors import ArchiveError


def changed_answers(store: Path, before: Said | None, after: Said) -> list[str]:
    """Return one line for each version new to traffic whose answers have another form.

    It is compared with the version that was the default, in a model that is new with its default.
    """
    found = []
    for name, model in after.models.items():
        then = before.models.get(name) if before is not None else None
        default = then.default if then is not None else model.default
        known = _declared(store, name, default)
        old = _in_traffic(then) if then is not None else {default}
        for version in sorted(_in_traffic(model) - old):
            declared = _declared(store, name, version)
            if known is None or declared is None or properties(known) == properties(declared):
                continue
            found.append(
                f"{name} {version}: answers otherwise than {default}, the default "
                f"({_changes(known, declared)}); clients that read one may not read the other."
            )
    return found


def _in_traffic(model: ReleasedModel) -> set[str]:
    arms = model.allocation.arms if model.allocation is not None else []
    return {model.default, *(arm.version for arm in arms)}


def _declared(store: Path, name: str, version: str) -> Response | None:
    """Return what an archive declares; None also for one that is no longer in the store."""
    try:
        return read_manifest(archive_path(store, name, version)).declared_response
    except (ArchiveError, FileNotFoundError):
        return None


def _changes(before: Response, after: Response) -> str:
    old, new = _keys(before), _keys(after)
    both = sorted({*old, *new}, key=lambda key: (key != "type", key))
    return ", ".join(
        f"{key} {old.get(key, 'none')} → {new.get(key, 'none')}"
        for key in both
        if old.get(key) != new.get(key)
    )


def _keys(response: Response) -> dict[str, Any]:
    keys: dict[str, Any] = msgspec.to_builtins(response)
    return keys if keys["type"] == RANKING else {**keys, "per": response.per}
