"""How a deployment is to be run: roll-out, guardrails, what the log keeps, whom it trusts."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from marloft.contract.manifest import Positive

Percent = Annotated[int, Meta(ge=1, le=99)]
Ratio = Annotated[float, Meta(gt=0, lt=1)]


class RolloutPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a new default version gets its traffic.

    `steps` are ascending percentages; each holds for `hold_s` seconds and until the new version
    has answered `min_requests`, the last one (100) too.
    """

    steps: Annotated[list[Percent], Meta(min_length=1)]
    hold_s: Annotated[float, Meta(ge=0)] = 60.0
    min_requests: Annotated[int, Meta(ge=0)] = 50

    def __post_init__(self) -> None:
        """Refuse steps that do not ascend: units would move back and forth."""
        if self.steps != sorted(set(self.steps)):
            raise ValueError(f"steps are {self.steps}, must ascend, for example [1, 5, 25, 50]")


class Guardrails(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits for a version that is new to traffic; None is not watched.

    `error_ratio` is the share of its requests that the version fails; `p99_ms` the 99th percentile
    of its time, from the last byte of a request to the first byte of the answer, one of the bounds
    of the gateway's histogram; `ctr_drop` the relative loss of clicks per shown item against
    control; `worker_restarts` how many restarts of its workers are too many.
    """

    error_ratio: Ratio | None = None
    p99_ms: Annotated[float, Meta(gt=0)] | None = None
    ctr_drop: Ratio | None = None
    worker_restarts: Positive | None = None


class RequestLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many requests of a model are taken in a second; None sets no limit.

    `requests_per_s` counts those of all clients, `per_client_per_s` those of each address that
    connects. A second's worth may come at once.
    """

    requests_per_s: Positive | None = None
    per_client_per_s: Positive | None = None


class LogPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the logs keep and promise.

    Attributes:
        fsync: `batch` makes every acknowledged record survive a loss of power; `never` leaves it
            to the kernel, which survives the death of any process.
        disk_full: `refuse` answers 503 when a record cannot be written, `serve` answers without
            a record and counts it.
        redact: fields of a feature row, and parameters, whose values are never logged.
        features_share: the share of requests whose features are logged; the record itself always
            is, since analysis and trace need it.
        segment_mb: a segment that reaches this size is closed with count and hash, in MiB.
        keep_days: closed segments older than this are deleted; None keeps all.
    """

    fsync: Literal["never", "batch"] = "never"
    disk_full: Literal["refuse", "serve"] = "refuse"
    redact: list[str] = []
    features_share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    segment_mb: Positive = 64
    keep_days: Positive | None = None

    def __post_init__(self) -> None:
        """Refuse to redact what is not a feature: analysis and trace need it."""
        if "user_id" in self.redact:
            raise ValueError(
                "redact names user_id, which is not a feature: split, analysis and trace need it; "
                "send pseudonyms as user ids instead"
            )


class TrustPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an archive has to prove about its origin before it is used.

    Attributes:
        signature: `required` refuses an archive without a good signature; `optional` refuses one
            with a bad signature, if there is a key to check it with.
        public_key: the PEM file of the key that signs, relative to the file that names it.
        fairness: `audited` refuses an archive without a fairness audit of its artifact.
    """

    signature: Literal["optional", "required"] = "optional"
    public_key: str | None = None
    fairness: Literal["audited"] | None = None
