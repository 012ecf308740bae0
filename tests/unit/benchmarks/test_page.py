"""docs/benchmarks.md shows what is committed, and every figure says what it is."""

from benchmarks.page import PAGE, RESULTS, page
from harness.factories import REPOSITORY


def test_page_is_generated_from_the_committed_results() -> None:
    assert (REPOSITORY / PAGE).read_text() == page(REPOSITORY / RESULTS)


def test_page_has_every_result() -> None:
    text = page(REPOSITORY / RESULTS)
    names = [path.stem for path in (REPOSITORY / RESULTS).glob("*.json")]
    assert names
    assert all(f"## {name}\n" in text for name in names)
