"""Results of an experiment with two arms, written by hand."""

from marloft.contract.check import Check
from marloft.contract.estimate import Estimate
from marloft.experiment.results import AnalysisResult, ArmSummary, CtrPoint, Effect, Report
from marloft.logs.read import LogCounts


def estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high, p=0.2, n=100, method="by hand")


def arm(name: str, version: str) -> ArmSummary:
    return ArmSummary(
        name=name,
        version=version,
        weight=50,
        users=50,
        requests=200,
        failed=0,
        impressions=600,
        clicks=300,
        ctr=0.5,
        model_time_ms=1.0,
        latency_ms={"0.5": estimate(4.0, 3.5, 4.5), "0.99": estimate(9.0, 8.0, None)},
    )


RESULTS = AnalysisResult(
    design_hash="d" * 64,
    first_time="2026-01-01T00:00:00Z",
    last_time="2026-01-01T01:00:00Z",
    releases=[1],
    earlier_requests=0,
    outside_requests=0,
    log=LogCounts(prediction_lines=400, outcome_lines=600, torn_lines=0),
    srm_p=0.7,
    arms=[arm("control", "1.0"), arm("treatment", "2.0")],
    effects=[
        Effect(metric="ctr", arm="treatment", estimate=estimate(0.01, -0.03, 0.05)),
        Effect(metric="model_time", arm="treatment", estimate=estimate(-0.4, -0.5, -0.3)),
        Effect(metric="latency", arm="treatment", estimate=estimate(0.02, None, 0.2)),
    ],
    ctr_over_time=[
        CtrPoint(arm=name, time=f"2026-01-01T00:{minute}:00Z", impressions=100, ctr=0.5)
        for name in ("control", "treatment")
        for minute in ("00", "30")
    ],
)
REPORT = Report(
    experiment="feed_ab",
    decision="ship",
    reasons=["faster"],
    checks=[
        Check(code="srm", ok=True, culprit="", message="as planned"),
        Check(code="records", ok=False, culprit="control", message="no record"),
    ],
    results=RESULTS,
)
