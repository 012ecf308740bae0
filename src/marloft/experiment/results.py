"""What an analysis returns: the arms, the effects, the decision, all as plain values."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from marloft.contract.check import Check
from marloft.contract.estimate import Estimate
from marloft.logs.read import LogCounts

Decision = Literal["ship", "do_not_ship", "not_shown", "refused"]
Metric = Literal["ctr", "model_time", "latency"]


class ArmSummary(Struct, frozen=True, kw_only=True):
    """One arm as it was assigned and served.

    `users` made at least one request; `requests` counts answers of any status, `failed` those
    other than 200; `impressions` are the shown items that could be clicked. `ctr` is clicks per
    impression, `model_time_ms` the mean per answered request, `latency_ms` maps a quantile
    ("0.5") to its estimate. None where the arm has no such data.
    """

    name: str
    version: str
    weight: int
    users: int
    requests: int
    failed: int
    impressions: int
    clicks: int
    ctr: float | None
    model_time_ms: float | None
    latency_ms: dict[str, Estimate]


class Effect(Struct, frozen=True, kw_only=True):
    """The relative effect of `arm` on `metric`, as a share of control (-0.02 = 2 % less).

    `detectable` is the smallest relative difference that this many users would have shown with the
    planned power; `noninferiority_p` the one-sided p-value of "worse by the margin or more" (CTR
    only).
    """

    metric: Metric
    arm: str
    estimate: Estimate
    detectable: float | None = None
    noninferiority_p: float | None = None


class CtrPoint(Struct, frozen=True, kw_only=True):
    """CTR of one arm in one time bin that begins at `time` (UTC ISO 8601)."""

    arm: str
    time: str
    impressions: int
    ctr: float


class AnalysisResult(Struct, frozen=True, kw_only=True):
    """Everything measured. `effects` is empty when a trust check failed.

    `releases` are those of the current phase (the newest weights), which alone is analyzed;
    `earlier_requests` belong to earlier phases, `outside_requests` to no experiment (no user, or
    a pinned version) or to another one.
    """

    design_hash: str
    first_time: str | None
    last_time: str | None
    releases: list[int]
    earlier_requests: int
    outside_requests: int
    log: LogCounts
    srm_p: float | None
    arms: list[ArmSummary]
    effects: list[Effect]
    ctr_over_time: list[CtrPoint]

    def effect(self, metric: Metric, arm: str) -> Effect:
        """Return one effect; raises KeyError when it was not computed."""
        for effect in self.effects:
            if effect.metric == metric and effect.arm == arm:
                return effect
        raise KeyError(f"no effect of {arm!r} on {metric!r}")


class Report(Struct, frozen=True, kw_only=True):
    """The decision, the reasons for it in words, the checks and the results behind it."""

    experiment: str
    decision: Decision
    reasons: list[str]
    checks: list[Check]
    results: AnalysisResult

    @property
    def failed(self) -> list[Check]:
        """The checks that refused the report."""
        return [check for check in self.checks if not check.ok]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dicts, lists, strings and numbers."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain
