"""The audit's pages: self-contained, explained before the numbers, the same bytes each time."""

import re
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from marloft.contract.audit import FairnessReport
from marloft.fairness.audit import audit_decision
from marloft.fairness.metrics import MEANING
from marloft.fairness.report import write_report
from marloft.files import read_json
from tests.unit.fairness.worlds import audit_of, world


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> FairnessReport:
    table = world(users=300, rows_per_user=10, shifts=(0.0, 0.12))
    return audit_decision(audit_of(table, tmp_path_factory.mktemp("world"), mitigate=True))


def test_page_needs_no_other_file_and_has_one_plot_per_feature(
    report: FairnessReport, tmp_path: Path
) -> None:
    page = write_report(report, tmp_path)[0].read_text()
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == len(report.features)
    for picture in pictures:
        ElementTree.fromstring(picture)
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []


def test_each_metric_is_explained_before_its_number(report: FairnessReport, tmp_path: Path) -> None:
    text = write_report(report, tmp_path)[1].read_text()
    for metric, meaning in MEANING.items():
        assert text.index(meaning) < text.index(f"| {metric.replace('_', ' ')} |")


def test_page_states_the_verdict_and_what_a_threshold_cannot_do(
    report: FairnessReport, tmp_path: Path
) -> None:
    text = write_report(report, tmp_path)[1].read_text()
    assert report.verdict == "fail"
    assert text.splitlines()[2].startswith("> **Fail.** For group the demographic parity")
    assert "A threshold changes a yes/no decision and no ranking" in text
    assert "Cost in accuracy" in text


def test_page_without_mitigation_says_nothing_of_it(report: FairnessReport, tmp_path: Path) -> None:
    plain = msgspec.structs.replace(report, mitigation=None)
    assert "threshold of its own" not in write_report(plain, tmp_path)[1].read_text()


def test_json_is_the_report_and_bytes_repeat(report: FairnessReport, tmp_path: Path) -> None:
    first, second = (write_report(report, tmp_path / name) for name in ("a", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert read_json(first[2], FairnessReport) == report
