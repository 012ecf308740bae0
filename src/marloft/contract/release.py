"""A release: the immutable decision about what is live, and its reader."""

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from marloft.contract.manifest import Name, Positive, Version, WorkerSettings
from marloft.contract.policy import Guardrails, LogPolicy, RequestLimits, RolloutPlan
from marloft.errors import ReleaseError
from marloft.files import read_json

# A model's name and a version of it.
Key = tuple[str, str]
ROLLOUT_PREFIX = "rollout-"
AllocationName = Annotated[
    str,
    Meta(pattern=rf"^([a-z][a-z0-9_]{{0,62}}|{ROLLOUT_PREFIX}(0|[1-9][0-9]*)\.(0|[1-9][0-9]*))\Z"),
]
Verb = Literal["apply", "promote", "ramp", "rollback"]
_FILE = re.compile(r"(\d{6,})\.json\Z")


class Arm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm of an allocation: `weight` of the total's buckets go to `version`."""

    name: Name
    version: Version
    weight: Positive


class Allocation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How units are split over arms; arms own consecutive bucket intervals in this order.

    `name` is the experiment's, or `rollout-2.0` for a canary of version 2.0.
    """

    name: AllocationName
    salt: str
    unit: str
    arms: list[Arm]


class ReleasedVersion(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One version of a model: the bytes that may serve and how they are run.

    `accepts` lists the content types of its requests, `parameters` the names of their parameters,
    as its archive says.
    """

    sha256: str
    settings: WorkerSettings
    accepts: list[str] = field(default_factory=lambda: ["application/json"])
    parameters: list[str] = []


class Rollout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new default version on its way from the first step to all traffic.

    At `step` i < len(plan.steps) an allocation `rollout-<version>` gives it plan.steps[i] percent;
    at len(plan.steps) it is the default, still watched. `before` was the default when it began.
    The versions in `retire` leave the routes when the roll-out ends, those in `added` (it brought
    them in) when it is abandoned.
    """

    version: Version
    before: Version
    plan: RolloutPlan
    step: Annotated[int, Meta(ge=0)]
    retire: list[Version] = []
    added: list[Version] = []


class ReleasedModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model: its versions, the default one, a running allocation, a shadow version.

    `standby` holds the previous default, when it is no longer among `versions`: loaded without
    traffic until the next promotion, so that a rollback takes effect at once. `aliases` are
    names that people gave to some of `versions`.
    """

    default: Version
    versions: dict[Version, ReleasedVersion]
    allocation: Allocation | None = None
    shadow: Version | None = None
    rollout: Rollout | None = None
    guardrails: Guardrails = Guardrails()
    limits: RequestLimits = RequestLimits()
    standby: dict[Version, ReleasedVersion] = {}
    aliases: dict[Name, Version] = {}

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that some of the versions that routes lead to take."""
        return sorted({name for each in self.versions.values() for name in each.parameters})

    @property
    def given(self) -> frozenset[Version]:
        """The versions that users get without naming one: the default and the arms."""
        arms = self.allocation.arms if self.allocation is not None else []
        return frozenset((self.default, *(arm.version for arm in arms)))

    @property
    def loaded(self) -> dict[Version, ReleasedVersion]:
        """Every version that should be loaded: those that routes lead to, then those on standby."""
        return self.versions | self.standby


class Release(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that should be live, as decided at `time` (UTC ISO 8601) by `actor`.

    `verb` is the command that decided, `ramp` a step of a roll-out; `apply` refuses a file that a
    promote or rollback superseded. `workflows` names the `.war` files of the model store that are
    registered along with the models.
    """

    release: Annotated[int, Meta(ge=1)]
    time: str
    actor: str
    verb: Verb = "apply"
    reason: str
    models: dict[Name, ReleasedModel]
    default_model: Name
    log: LogPolicy = LogPolicy()
    workflows: list[Name] = []

    @property
    def routed(self) -> dict[Key, ReleasedVersion]:
        """Every version that a route leads to."""
        return {
            (name, version): pinned
            for name, model in self.models.items()
            for version, pinned in model.versions.items()
        }

    @property
    def loaded(self) -> dict[Key, ReleasedVersion]:
        """Every version that should be loaded: those that routes lead to, then those on standby."""
        return self.routed | {
            (name, version): pinned
            for name, model in self.models.items()
            for version, pinned in model.standby.items()
        }

    def check_references(self) -> None:
        """Raise ReleaseError when it leads to a model or a version that it does not hold."""
        if self.default_model not in self.models:
            known = ", ".join(sorted(self.models))
            raise ReleaseError(
                f"release {self.release}: default_model {self.default_model!r} is not among "
                f"its models ({known}); name one of them."
            )
        for name, model in self.models.items():
            for version in sorted(model.given):
                if version not in model.versions:
                    known = ", ".join(sorted(model.versions))
                    raise ReleaseError(
                        f"release {self.release}: {name} routes to version {version!r}, which it "
                        f"does not hold ({known}); add the version or route to one of these."
                    )


def releases_folder(var: Path) -> Path:
    """Return the folder of releases below a state folder."""
    return var / "releases"


def release_path(folder: Path, number: int) -> Path:
    """Return the file of release `number`: six digits at least, so that names sort by number."""
    return folder / f"{number:06d}.json"


def newest_number(folder: Path) -> int:
    """Return the highest release number in `folder`, 0 when there is none."""
    if not folder.is_dir():
        return 0
    return max((int(m[1]) for f in folder.iterdir() if (m := _FILE.match(f.name))), default=0)


def read_release(folder: Path, number: int | None = None) -> Release:
    """Read release `number`, or the newest.

    Raises:
        ReleaseError: there is no such release.
        ConfigError: the file is damaged.
    """
    wanted = newest_number(folder) if number is None else number
    if wanted == 0:
        raise ReleaseError(f"no release in {folder} yet; run `marloft apply` first.")
    path = release_path(folder, wanted)
    if not path.exists():
        newest = newest_number(folder)
        raise ReleaseError(f"release {wanted} does not exist; {folder} holds 1 to {newest}.")
    return read_json(path, Release)
