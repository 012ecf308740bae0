"""A fairness report: read back as it was written, judged by its worst feature, summed up."""

import msgspec
import pytest

from harness.documents import fairness_report
from marloft.contract.audit import FairnessReport, Mitigation, MitigationRow, Verdict, summarize
from marloft.contract.estimate import Estimate


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.01, p=None, n=200, method="x")


def with_verdicts(*verdicts: Verdict) -> FairnessReport:
    """A report with one feature per verdict of the headline metric."""
    report = fairness_report("a" * 64)
    (feature,) = report.features
    features = [
        msgspec.structs.replace(
            feature,
            feature=f"feature_{number}",
            results=[msgspec.structs.replace(feature.results[0], verdict=verdict)],
        )
        for number, verdict in enumerate(verdicts)
    ]
    return msgspec.structs.replace(report, features=features)


def test_report_reads_back_as_it_was_written() -> None:
    report = fairness_report("a" * 64)
    assert msgspec.json.decode(msgspec.json.encode(report), type=FairnessReport) == report


@pytest.mark.parametrize(
    ("key", "value"), [("verdict", "perhaps"), ("metric", "vibes"), ("colour", "red")]
)
def test_unknown_word_is_refused(key: str, value: str) -> None:
    document = msgspec.to_builtins(fairness_report("a" * 64))
    document["features"][0]["results"][0][key] = value
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, FairnessReport)


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        (("pass",), "pass"),
        (("pass", "cannot_tell"), "cannot_tell"),
        (("cannot_tell", "fail", "pass"), "fail"),
    ],
)
def test_verdict_is_that_of_the_worst_feature(verdicts: list[Verdict], worst: Verdict) -> None:
    assert with_verdicts(*verdicts).verdict == worst


def test_summary_has_each_features_headline() -> None:
    found = summarize(with_verdicts("pass", "fail"))
    assert found == {
        "threshold": 0.05,
        "feature_0": {
            "metric": "demographic_parity_difference",
            "value": 0.02,
            "ci": [0.001, 0.04],
            "verdict": "pass",
        },
        "feature_1": {
            "metric": "demographic_parity_difference",
            "value": 0.02,
            "ci": [0.001, 0.04],
            "verdict": "fail",
        },
        "mitigation": None,
    }


def test_summary_has_the_gap_before_and_after_mitigation() -> None:
    gap = MitigationRow(
        metric="demographic_parity_difference", before=estimate(0.2), after=estimate(0.03)
    )
    mitigation = Mitigation(
        feature="gender",
        constraint="demographic_parity",
        objective="accuracy_score",
        fit_parts=["valid"],
        fit_rows=100,
        rules=[],
        rows=[gap],
        accuracy_cost=estimate(0.015),
        verdict_before="fail",
        verdict_after="pass",
    )
    report = msgspec.structs.replace(fairness_report("a" * 64), mitigation=mitigation)
    found = summarize(report)["mitigation"]
    assert (found["feature"], found["before"], found["after"]) == ("gender", 0.2, 0.03)
    assert found["after_ci"] == pytest.approx([0.02, 0.04])
    assert (found["verdict_after"], found["accuracy_cost"]) == ("pass", 0.015)
