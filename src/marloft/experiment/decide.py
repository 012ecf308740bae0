"""From effects to a decision: ship, do_not_ship or not_shown, by the rule in the design."""

from msgspec import Struct

from marloft.experiment.design import Experiment
from marloft.experiment.results import Decision, Effect


class MetricVerdict(Struct, frozen=True, kw_only=True):
    """What one metric says: `shown` supports shipping, `harm` speaks against it."""

    shown: bool
    harm: bool
    reason: str


def decide(
    experiment: Experiment, *, ctr: Effect, model_time: Effect, latency: Effect
) -> tuple[Decision, list[str]]:
    """Return the decision about the candidate and a reason per metric.

    - `do_not_ship`: harm is shown in CTR or in the latency quantile;
    - `ship`: CTR not inferior, model time less, latency not worse, all shown;
    - `not_shown`: neither; the data do not support a decision.
    """
    verdicts = [
        judge_ctr(experiment, ctr),
        judge_model_time(model_time),
        judge_latency(experiment, latency),
    ]
    reasons = [verdict.reason for verdict in verdicts]
    if any(verdict.harm for verdict in verdicts):
        return "do_not_ship", reasons
    if all(verdict.shown for verdict in verdicts):
        return "ship", reasons
    return "not_shown", reasons


def judge_ctr(experiment: Experiment, effect: Effect) -> MetricVerdict:
    """Judge CTR: not inferior above -margin, harm below -`ctr_harm`."""
    rule = experiment.decision
    low, high = effect.estimate.low, effect.estimate.high
    shown = low is not None and low > -rule.ctr_margin
    harm = not shown and high is not None and high < -rule.ctr_harm
    margin = f"{rule.ctr_margin:.0%}"
    if shown:
        verdict = f"so it is at most {margin} lower: not inferior"
    elif harm:
        verdict = f"so it is shown to be lower, and not shown to stay within the margin of {margin}"
    else:
        verdict = f"so a loss of {margin} or more is not excluded: not shown"
    found = "" if effect.detectable is None else (
        f" (this many users find a difference of {effect.detectable:.1%} with power "
        f"{rule.power:.0%})"
    )  # fmt: skip
    return MetricVerdict(
        shown=shown, harm=harm, reason=f"CTR changed by {interval_text(effect)}, {verdict}{found}."
    )


def judge_model_time(effect: Effect) -> MetricVerdict:
    """Judge model time: superior when its whole interval lies below zero."""
    low, high = effect.estimate.low, effect.estimate.high
    shown = high is not None and high < 0
    if shown:
        verdict = "so the model is faster: shown"
    elif low is not None and low > 0:
        verdict = "so the model is slower"
    else:
        verdict = "so it is not shown that the model is faster"
    return MetricVerdict(
        shown=shown,
        harm=False,
        reason=f"Model time per request changed by {interval_text(effect)}, {verdict}.",
    )


def judge_latency(experiment: Experiment, effect: Effect) -> MetricVerdict:
    """Judge the latency quantile: not worse below +margin, harm above it."""
    rule = experiment.decision
    low, high = effect.estimate.low, effect.estimate.high
    shown = high is not None and high < rule.latency_margin
    harm = low is not None and low > rule.latency_margin
    margin = f"{rule.latency_margin:.0%}"
    if shown:
        verdict = f"so it is less than {margin} higher: not worse"
    elif harm:
        verdict = f"so it is more than {margin} higher: clearly worse"
    else:
        verdict = f"so a rise of {margin} or more is neither shown nor excluded: not shown"
    name = f"p{experiment.metrics.latency.quantile * 100:g}"
    return MetricVerdict(
        shown=shown,
        harm=harm,
        reason=f"{name} latency changed by {interval_text(effect)}, {verdict}.",
    )


def interval_text(effect: Effect) -> str:
    """Return `-1.2 % [-3.4 %, +1.0 %]`; a side without a bound reads `no bound`."""
    parts = [
        "no bound" if bound is None else f"{bound:+.1%}"
        for bound in (effect.estimate.value, effect.estimate.low, effect.estimate.high)
    ]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]"
