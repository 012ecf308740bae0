"""The split for workflows' assign nodes, rendered from releases: one file per experiment."""

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from marloft.contract.allocation import AllocationFile, allocation_file
from marloft.contract.release import Release, read_release
from marloft.errors import MarloftError
from marloft.files import to_json


def render_allocations(
    releases: Path, release: Release, rendered: Iterable[str]
) -> dict[str, bytes]:
    """Return the content of each experiment's allocation file by the experiment's name.

    Args:
        releases: the folder of releases.
        release: what is live.
        rendered: the experiments that have a file already. One that has ended keeps it, with
            `running` false: without a file an assign node would split as it was packed.
    """
    files = [allocation_file(release, model) for model in release.models]
    found = {file.allocation.name: file for file in files if file is not None}
    for name in set(rendered) - set(found):
        ended = _ended(releases, release, name)
        if ended is not None:
            found[name] = ended
    return {name: to_json(file) for name, file in found.items()}


def _ended(releases: Path, release: Release, name: str) -> AllocationFile | None:
    """Return the file of an experiment that ran last in some earlier release."""
    for number in range(release.release - 1, 0, -1):
        try:
            earlier = read_release(releases, number)
        except MarloftError:
            # Of the past: a damaged file there must not hold up what is to be live now.
            continue
        for model in earlier.models:
            file = allocation_file(earlier, model)
            if file is not None and file.allocation.name == name:
                live = release.models.get(model)
                default = live.default if live else file.default
                return replace(file, release=release.release, default=default, running=False)
    return None
