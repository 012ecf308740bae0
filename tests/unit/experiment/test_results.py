"""A report as a value: read back as it was written, asked for an effect or for what failed."""

import msgspec
import pytest

from marloft.experiment.results import Report
from tests.unit.experiment.made_results import REPORT, RESULTS


def test_report_reads_back_as_it_was_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(REPORT), type=Report) == REPORT
    assert msgspec.convert(REPORT.to_dict(), Report) == REPORT


def test_effect_is_found_by_metric_and_arm() -> None:
    assert RESULTS.effect("model_time", "treatment").estimate.value == -0.4
    with pytest.raises(KeyError, match="no effect of 'control' on 'ctr'"):
        RESULTS.effect("ctr", "control")


def test_failed_checks_are_those_that_refused() -> None:
    assert [check.code for check in REPORT.failed] == ["records"]
