import pytest

from benchmarks.compare import worse
from marloft.errors import DataError

COMMITTED = [{"policy": "a", "p50_us": 10.0}, {"policy": "b", "p50_us": 20.0}]


def test_row_over_the_factor_is_named() -> None:
    measured = [{"policy": "a", "p50_us": 51.0}, {"policy": "b", "p50_us": 99.0}]
    found = worse(COMMITTED, measured, ["policy"], "p50_us", 5)
    assert found == ["a: p50_us 51, committed 10"]


def test_row_that_is_not_committed_is_passed_over() -> None:
    measured = [{"policy": "b", "p50_us": 1.0}, {"policy": "new", "p50_us": 999.0}]
    assert worse(COMMITTED, measured, ["policy"], "p50_us", 5) == []


@pytest.mark.parametrize("figure", ["p50_us", "p99_us"])
def test_nothing_to_compare_is_an_error(figure: str) -> None:
    measured = [{"policy": "c", "p50_us": 1.0}] if figure == "p50_us" else COMMITTED
    with pytest.raises(DataError, match="in both"):
        worse(COMMITTED, measured, ["policy"], figure, 5)
