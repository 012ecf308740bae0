"""The committed figures of the guardrails' simulation, and the page that shows them."""

from benchmarks.guardrails import to_markdown
from harness.factories import REPOSITORY
from harness.simulated_rollouts import WORLDS, SimulatedRollouts
from marloft.contract.benchmark import BenchmarkResult
from marloft.files import read_json

RESULT = REPOSITORY / "benchmarks" / "results" / "guardrails.json"


def test_committed_result_keeps_the_promises_and_the_page_shows_it() -> None:
    result = read_json(RESULT, BenchmarkResult[SimulatedRollouts])
    assert [row.world for row in result.rows] == list(WORLDS)
    same = [row for row in result.rows if row.within is None]
    assert sum(row.runs for row in same) >= 2000
    assert all(row.rolled_back <= 0.01 for row in same)
    page = (REPOSITORY / "docs" / "guardrails.md").read_text()
    assert to_markdown(result) in page
