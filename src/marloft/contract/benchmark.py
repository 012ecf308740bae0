"""The format of every benchmark result: the figures, and what is needed to measure them again."""

from typing import Generic, TypeVar

from msgspec import Struct

Row = TypeVar("Row")
Headline = dict[str, float | int | dict[str, int] | None]


class Machine(Struct, frozen=True, kw_only=True):
    """Where figures were measured.

    `load_average` is the mean number of running processes in the minute before the start: above
    0 the machine was not quiet. `libraries` maps the names of those measured to their versions.
    """

    processor: str
    cores: int
    system: str
    python: str
    libraries: dict[str, str]
    load_average: float


class BenchmarkResult(Struct, Generic[Row], frozen=True, kw_only=True):
    """One run of one benchmark script.

    `date` is UTC ISO 8601; `commit` is git's, ending in `-dirty` when files were changed after it,
    None outside of a repository; `headline` says the result in one sentence, or in a few figures
    by name.
    """

    machine: Machine
    date: str
    commit: str | None
    command: str
    rows: list[Row]
    headline: str | Headline
