"""From what a user asks for to what a release says: versions pinned by hash, arms checked."""

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from marloft.archive.manifest import read_manifest, read_schema
from marloft.archive.verify import verify
from marloft.contract.manifest import Name, archive_path, version_order
from marloft.contract.parameters import check_length
from marloft.contract.policy import LogPolicy, RolloutPlan, TrustPolicy
from marloft.contract.release import Allocation, ReleasedModel, ReleasedVersion
from marloft.deploy.release.deployment import ModelPlan, SettingsOverride, read_deployment
from marloft.errors import ConfigError, ReleaseError, nearest
from marloft.experiment.design import allocation_of, read_experiment
from marloft.files import sha256_file


class Wanted(Struct, frozen=True, kw_only=True):
    """What a deployment file asks for: goals, and by model the steps that may lead there."""

    models: dict[Name, ReleasedModel]
    default_model: Name
    plans: dict[Name, RolloutPlan]
    log: LogPolicy
    workflows: list[Name]


def resolve(deployment_file: Path, store: Path, *, no_rollout: bool = False) -> Wanted:
    """Return what `deployment_file` asks for, every version pinned by the bytes in `store`.

    An experiment's path is relative to the deployment file. With `no_rollout` no steps lead to
    another default: it takes over at once.

    Raises:
        ConfigError: the file or an experiment's file is wrong.
        ReleaseError: an archive is missing, or does not pass its checks.
    """
    deployment = read_deployment(deployment_file)
    models = {
        name: ReleasedModel(
            default=plan.default,
            versions={
                version: _pin(store, name, version, override, _policy(deployment_file, plan))
                for version, override in sorted(
                    plan.versions.items(), key=lambda item: version_order(item[0])
                )
            },
            allocation=_allocation(deployment_file, name, plan),
            guardrails=plan.guardrails,
            limits=plan.limits,
            aliases=plan.aliases,
        )
        for name, plan in sorted(deployment.models.items())
    }
    for name, model in models.items():
        _check_parameters(name, model)
    return Wanted(
        models=models,
        default_model=deployment.default_model,
        plans={
            name: plan.rollout
            for name, plan in deployment.models.items()
            if plan.rollout is not None and not no_rollout
        },
        log=deployment.log,
        workflows=[_workflow(store, name) for name in deployment.workflows],
    )


def holds(path: Path, pinned: ReleasedVersion) -> bool:
    """Whether the archive at `path` has the bytes that a release decided on."""
    return path.is_file() and sha256_file(path) == pinned.sha256


def check_bytes(store: Path, models: dict[str, ReleasedModel]) -> None:
    """Raise ReleaseError unless the store holds every pinned archive, bit for bit."""
    for name, model in models.items():
        for version, pinned in model.versions.items():
            path = archive_path(store, name, version)
            if not holds(path, pinned):
                raise ReleaseError(
                    f"{path} is missing or has other bytes than that release was made of "
                    f"(sha256 {pinned.sha256[:12]}…); put that file back first."
                )


def _policy(deployment_file: Path, plan: ModelPlan) -> TrustPolicy:
    """Return the model's policy with the path of its key as it stands."""
    key = plan.policy.public_key
    return replace(plan.policy, public_key=key and str(deployment_file.parent / key))


def _workflow(store: Path, name: str) -> str:
    path = store / f"{name}.war"
    if not path.is_file():
        raise ReleaseError(
            f"{path} does not exist; run `marloft pack workflows/{name}/workflow.yaml` first."
        )
    return name


def _pin(
    store: Path, name: str, version: str, override: SettingsOverride, policy: TrustPolicy
) -> ReleasedVersion:
    path = archive_path(store, name, version)
    if not path.is_file():
        held = ", ".join(sorted(p.name for p in store.glob(f"{name}-*.mar"))) or "none"
        raise ReleaseError(
            f"{path} does not exist; {name} archives in {store}: {held}. Run `marloft pack` first."
        )
    failed = [check for check in verify(path, policy).checks if not check.ok]
    if failed:
        first = failed[0]
        raise ReleaseError(
            f"{path} is refused ({first.code}): {first.message} `marloft verify {path}` shows all."
        )
    manifest = read_manifest(path)
    settings = override.over(manifest.settings)
    schema = read_schema(path)
    return ReleasedVersion(
        sha256=sha256_file(path),
        settings=settings,
        accepts=manifest.accepts,
        parameters=[] if schema is None else sorted(schema.parameters),
    )


def _check_parameters(name: str, model: ReleasedModel) -> None:
    """Raise ReleaseError when the versions together declare more than the gateway can name."""
    try:
        check_length(model.parameters)
    except ValueError as error:
        raise ReleaseError(f"{name}: its versions declare too many parameters: {error}.") from None


def _allocation(deployment_file: Path, name: str, plan: ModelPlan) -> Allocation | None:
    """Return the experiment's split; its control is what everybody else gets, the default."""
    if plan.experiment is None:
        return None
    path = deployment_file.parent / plan.experiment
    allocation = allocation_of(read_experiment(path))
    for arm in allocation.arms:
        if arm.version not in plan.versions:
            hint = nearest(arm.version, plan.versions)
            raise ConfigError(
                f"{path}: arm {arm.name!r} serves {name} {arm.version}, which {deployment_file} "
                f"does not list.{hint}"
            )
    control = allocation.arms[0]
    if control.version != plan.default:
        raise ConfigError(
            f"{path}: the first arm is control and must serve the default version of {name}, "
            f"{plan.default}; it serves {control.version}."
        )
    return allocation
