import re
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from marloft.experiment.analyze import analyze
from marloft.experiment.design import read_experiment
from marloft.experiment.report import write_report
from marloft.experiment.results import Report
from marloft.experiment.simulate import Truth, World, write_logs, write_release

pytestmark = pytest.mark.slow


EXPERIMENT = read_experiment(Path(__file__).parents[3] / "workflows/feed_ab/experiment.yaml")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    var = tmp_path_factory.mktemp("var")
    truths = [Truth(ctr=0.6, model_ms=1, latency_ms=4), Truth(ctr=0.6, model_ms=0.5, latency_ms=3)]
    write_release(EXPERIMENT, var)
    write_logs(EXPERIMENT, World(users=300, requests_per_user=8, truths=truths), var)
    return analyze(EXPERIMENT, var)


def test_page_needs_no_other_file(report: Report, tmp_path: Path) -> None:
    page = write_report(EXPERIMENT, report, tmp_path)[0].read_text()
    assert page.count("<svg") == 3
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    assert re.findall(r"url\((?!#)", page) == []


def test_page_is_well_formed_and_tells_the_story_in_order(report: Report, tmp_path: Path) -> None:
    page = write_report(EXPERIMENT, report, tmp_path)[0].read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Why",
        "Who was assigned and served",
        "Can the data be trusted?",
        "Effects",
        "CTR by arm and over time",
        "Latency",
        "Question and design",
    ]
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)


def test_same_report_gives_the_same_bytes(report: Report, tmp_path: Path) -> None:
    first, second = (write_report(EXPERIMENT, report, tmp_path / name) for name in ("a", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_markdown_states_decision_reasons_and_checks(report: Report, tmp_path: Path) -> None:
    text = write_report(EXPERIMENT, report, tmp_path)[1].read_text()
    assert f"Decision: {report.decision.replace('_', ' ')}" in text
    assert all(reason in text for reason in report.reasons)
    assert all(f"`{check.code}` | passed" in text for check in report.checks)


def test_json_is_the_report(report: Report, tmp_path: Path) -> None:
    path = write_report(EXPERIMENT, report, tmp_path)[2]
    assert msgspec.json.decode(path.read_bytes(), type=Report) == report


def test_refused_report_shows_no_effect(tmp_path: Path) -> None:
    page = write_report(EXPERIMENT, analyze(EXPERIMENT, tmp_path), tmp_path)[0].read_text()
    assert "Refused" in page
    assert "records" in page
    assert "<svg" not in page


def test_text_from_the_log_is_escaped(report: Report, tmp_path: Path) -> None:
    hostile = msgspec.structs.replace(report, reasons=["<script>alert(1)</script>"])
    page = write_report(EXPERIMENT, hostile, tmp_path)[0].read_text()
    assert "<script>" not in page
