"""The split as a workflow's assign node reads it: a file rendered from the release, or packed."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from marloft.contract.manifest import Name, Version
from marloft.contract.release import Allocation, Arm, Release
from marloft.files import read_yaml

ALLOCATION_JSON = "allocation.json"


class AllocationFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The running split of `model`; `default` serves requests that are outside it.

    `release` is the release it was rendered from, None for the copy inside an archive. When the
    experiment has ended `running` is false: everybody gets `default`, outside the experiment.
    """

    release: int | None
    model: Name
    default: Version
    allocation: Allocation
    running: bool = True


class _Split(Struct, frozen=True, kw_only=True):
    """The part of `experiment.yaml` that says who gets what; the analysis needs its other keys."""

    name: Name
    arms: Annotated[list[Arm], Meta(min_length=2)]
    salt: str = ""
    unit: str = "user_id"


def allocation_file(release: Release, model: str) -> AllocationFile | None:
    """Return the split of `model` in `release`, None when none is running."""
    released = release.models.get(model)
    if released is None or released.allocation is None:
        return None
    return AllocationFile(
        release=release.release,
        model=model,
        default=released.default,
        allocation=released.allocation,
    )


def packed_allocation(experiment: Path, model: str) -> AllocationFile:
    """Return the split that `experiment.yaml` asks for, with its control as the default version.

    Raises:
        ConfigError: the file is missing, or names no arms of the expected form.
    """
    split = read_yaml(experiment, _Split)
    allocation = Allocation(
        name=split.name, salt=split.salt or split.name, unit=split.unit, arms=split.arms
    )
    return AllocationFile(
        release=None, model=model, default=split.arms[0].version, allocation=allocation
    )


def allocation_path(var: Path, experiment: str) -> Path:
    """Return where the running split of an experiment is rendered to, below the state folder."""
    return var / "run" / "allocation" / f"{experiment}.json"
