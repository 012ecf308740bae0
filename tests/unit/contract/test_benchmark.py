"""A benchmark's result: read back with rows of its own type, headline in words or in figures."""

import msgspec
import pytest
from msgspec import Struct

from marloft.contract.benchmark import BenchmarkResult, Headline, Machine


class Row(Struct, frozen=True):
    what: str
    seconds: float


MACHINE = Machine(
    processor="p", cores=2, system="Linux", python="3.11", libraries={}, load_average=0.1
)


@pytest.mark.parametrize("headline", ["fast", {"seconds": 1.5, "runs": 3, "by_act": {"kill": 0}}])
def test_result_reads_back_as_it_was_written(headline: str | Headline) -> None:
    result = BenchmarkResult(
        machine=MACHINE,
        date="2026-01-01T00:00:00+00:00",
        commit=None,
        command="python -m benchmarks.x",
        rows=[Row("a", 1.5)],
        headline=headline,
    )
    assert msgspec.json.decode(msgspec.json.encode(result), type=BenchmarkResult[Row]) == result


def test_row_of_another_type_is_refused() -> None:
    document = {
        "machine": msgspec.to_builtins(MACHINE),
        "date": "",
        "commit": None,
        "command": "",
        "rows": [{"what": "a", "seconds": "fast"}],
        "headline": "",
    }
    with pytest.raises(msgspec.ValidationError, match=r"rows\[0\]\.seconds"):
        msgspec.convert(document, BenchmarkResult[Row])
