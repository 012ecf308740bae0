"""The split for workflows' assign nodes, rendered from releases: one file per experiment."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace

from marloft.contract.allocation import AllocationFile, allocation_file
from marloft.contract.release import Release, read_release
from marloft.errors import MarloftError
from marloft.files import to_json


def render_allocations(release: Release, ended: Mapping[str, AllocationFile]) -> dict[str, bytes]:
    """Return the content of each experiment's allocation file by the experiment's name.

    Args:
        release: what is live.
        ended: the last split of each experiment that has a file and runs no more. It keeps its
            file, with `running` false: without one an assign node would split as it was packed.
    """
    stopped = {name: _stopped(file, release) for name, file in ended.items()}
    return {name: to_json(file) for name, file in (_running(release) | stopped).items()}


def last_allocations(
    releases: Path, release: Release, rendered: Iterable[str]
) -> dict[str, AllocationFile]:
    """Return the last split of each experiment in `rendered` that `release` does not run.

    Args:
        releases: the folder of releases.
        release: what is live.
        rendered: the experiments that have a file.
    """
    ended = set(rendered) - set(_running(release))
    found = {name: _last(releases, release, name) for name in ended}
    return {name: file for name, file in found.items() if file is not None}


def _running(release: Release) -> dict[str, AllocationFile]:
    files = (allocation_file(release, model) for model in release.models)
    return {file.allocation.name: file for file in files if file is not None}


def _stopped(file: AllocationFile, release: Release) -> AllocationFile:
    live = release.models.get(file.model)
    default = live.default if live is not None else file.default
    return replace(file, release=release.release, default=default, running=False)


def _last(releases: Path, release: Release, experiment: str) -> AllocationFile | None:
    for number in range(release.release - 1, 0, -1):
        try:
            earlier = read_release(releases, number)
        except MarloftError:
            # Of the past: a damaged file there must not hold up what is to be live now.
            continue
        if experiment in (found := _running(earlier)):
            return found[experiment]
    return None
