"""What the log costs is measured for every policy, and the page shows the committed figures."""

from pathlib import Path

import pytest

from benchmarks import log as benchmark
from benchmarks.log import LogRow
from harness.factories import REPOSITORY
from marloft.contract.benchmark import BenchmarkResult
from marloft.files import read_json

RESULT = REPOSITORY / "benchmarks" / "results" / "log.json"
PAGE = REPOSITORY / "docs" / "log.md"
BEGIN = "<!-- generated: python benchmarks/log.py --table benchmarks/results/log.json -->\n"


def committed() -> BenchmarkResult[LogRow]:
    return read_json(RESULT, BenchmarkResult[LogRow])


def test_page_shows_the_committed_table() -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition("<!-- end -->")[0]
    assert shown == benchmark.to_markdown(committed())


def test_committed_headline_is_that_of_its_rows() -> None:
    assert committed().headline == benchmark.headline(committed().rows)


def test_each_policy_is_measured_at_each_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "WARM_UP_ROUNDS", 1)
    rows = benchmark.benchmark({1: 3, 32: 2})
    measured = [(row.policy, row.batch) for row in rows]
    assert measured == [(p, b) for b in (1, 32) for p in ("before", *benchmark.POLICIES)]
    assert measured == [(row.policy, row.batch) for row in committed().rows]
    sizes = {row.policy: row.bytes for row in rows if row.batch == 32}
    assert sizes["before"] == sizes["defaults"] == sizes["fsync: batch"]
    assert sizes["features_share: 0.1"] < 0.6 * sizes["defaults"]
    assert not list(Path(REPOSITORY / "build").glob("log-*"))
