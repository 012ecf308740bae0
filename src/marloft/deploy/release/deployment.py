"""`deployment.yaml`: what a user asks to be live."""

from pathlib import Path

from msgspec import Struct

from marloft.contract.manifest import Name, Positive, Version, WorkerSettings
from marloft.contract.metric_names import GATEWAY_LATENCY_BUCKETS_US
from marloft.contract.policy import Guardrails, LogPolicy, RequestLimits, RolloutPlan, TrustPolicy
from marloft.errors import ConfigError, nearest
from marloft.files import read_yaml


class SettingsOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Worker settings of one version; what is absent comes from the archive's defaults.

    The response timeout has no place here: TorchServe takes it from the archive alone.
    """

    workers: Positive | None = None
    batch_size: Positive | None = None
    max_batch_delay_ms: Positive | None = None

    def over(self, defaults: WorkerSettings) -> WorkerSettings:
        """Return `defaults` with what is set here in its place."""
        return WorkerSettings(
            workers=self.workers or defaults.workers,
            batch_size=self.batch_size or defaults.batch_size,
            max_batch_delay_ms=self.max_batch_delay_ms or defaults.max_batch_delay_ms,
            response_timeout_s=defaults.response_timeout_s,
        )


class ModelPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versions of one model to load and the one that serves unless a request names another.

    `experiment` is the path of an `experiment.yaml`, relative to the deployment file: its users
    are split over its arms. `rollout` is how another default gets its traffic, at once without
    it; `guardrails` are what it is watched for, `limits` what is taken from clients. `policy` is
    what each of its archives has to prove before a release may name it; its `public_key` is
    relative to the deployment file. `aliases` name versions for commands, as `ranker@champion`.
    """

    versions: dict[Version, SettingsOverride]
    default: Version
    experiment: str | None = None
    rollout: RolloutPlan | None = None
    guardrails: Guardrails = Guardrails()
    limits: RequestLimits = RequestLimits()
    policy: TrustPolicy = TrustPolicy()
    aliases: dict[Name, Version] = {}


class Deployment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All models, the one that answers `POST /predict` and `GET /health`, and the log's policy.

    `workflows` names the `.war` files of the model store to register with the models.
    """

    default_model: Name
    models: dict[Name, ModelPlan]
    log: LogPolicy = LogPolicy()
    workflows: list[Name] = []


def read_deployment(path: Path) -> Deployment:
    """Read and check the file; raises ConfigError with the key at fault."""
    deployment = read_yaml(path, Deployment)
    if deployment.default_model not in deployment.models:
        hint = nearest(deployment.default_model, deployment.models)
        raise ConfigError(f"{path}: default_model {deployment.default_model!r} is no model.{hint}")
    for name, plan in deployment.models.items():
        if plan.default not in plan.versions:
            hint = nearest(plan.default, plan.versions)
            raise ConfigError(
                f"{path}: models.{name}.default {plan.default!r} is not among its versions.{hint}"
            )
        for alias, version in plan.aliases.items():
            if version not in plan.versions:
                hint = nearest(version, plan.versions)
                raise ConfigError(
                    f"{path}: models.{name}.aliases.{alias} {version!r} is not among its "
                    f"versions.{hint}"
                )
        _check_p99(path, name, plan.guardrails.p99_ms)
    return deployment


def _check_p99(path: Path, name: str, limit_ms: float | None) -> None:
    """Requests above a limit can be counted only where the gateway's histogram has a bound."""
    bounds = [bound / 1000 for bound in GATEWAY_LATENCY_BUCKETS_US]
    if limit_ms is None or limit_ms in bounds:
        return
    near = sorted(sorted(bounds, key=lambda bound: abs(bound - limit_ms))[:2])
    raise ConfigError(
        f"{path}: models.{name}.guardrails.p99_ms is {limit_ms:g}, must be a bound of the "
        f"gateway's latency histogram; the nearest are {near[0]:g} and {near[1]:g}."
    )
