"""The headline of the hostile benchmark, the promises that each row can break, earlier rows."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.hostile_rows import (
    HostileClients,
    Load,
    Neighbour,
    Overload,
    Row,
    Survival,
    broken_counts,
    broken_times,
    earlier_rows,
    headline,
)
from marloft.contract.benchmark import BenchmarkResult
from marloft.files import write_json
from marloft.training.provenance import describe_machine

CLIENTS = HostileClients(
    kind="body",
    requests=300,
    statuses={"400": 300},
    closed=0,
    server_errors=0,
    hung=0,
    limit_s=35,
    longest_s=1,
)
NEIGHBOUR = Neighbour(
    requests=4000,
    faults={},
    lost=0,
    alone_p50_ms=4,
    alone_p99_ms=10,
    beside_p50_ms=5,
    beside_p99_ms=14,
    health_asked=100,
    health_false_alarms=0,
    smuggled=0,
)
LOAD = Load(
    load="3 x peak",
    seconds=60,
    connections=500,
    offered_per_s=3000,
    sent_per_s=3000,
    goodput_per_s=900,
    refused=126000,
    failed=0,
    unanswered=3,
    good_p50_ms=30,
    good_p99_ms=90,
    refusal_p50_ms=2,
    refusal_p99_ms=40,
    generator_cores=0.2,
)
OVERLOAD = Overload(
    peak_per_s=1000,
    goodput_at_3x=0.9,
    gateway_refusal_p99_ms=3,
    health_asked=60,
    health_false_alarms=0,
    releases_written=0,
    sampled_refusals=50,
    bare_refusals=0,
    normal_p50_ms=4,
    back_to_normal_s=1,
)
SURVIVAL = Survival(
    fault="SIGKILL: Envoy",
    requests=400,
    unavailable=0,
    refused=8,
    failed={},
    away_s=0.1,
    lost=0,
    told="Envoy runs again",
    told_s=0,
    status_s=0.5,
    recovered_s=0,
    supervisor_ended=False,
    survived=True,
)
ROWS: list[Row] = [CLIENTS, NEIGHBOUR, LOAD, OVERLOAD, SURVIVAL]


def test_headline_is_of_all_rows() -> None:
    lost = replace(SURVIVAL, fault="SIGSTOP: Java", survived=False)
    slow = replace(CLIENTS, kind="idle", requests=25, hung=2)
    assert headline([*ROWS, lost, slow]) == {
        "hostile_requests": 325,
        "server_errors": 0,
        "hung": 2,
        "neighbour_p99_ratio": 1.4,
        "goodput_at_3x": 0.9,
        "refusal_p99_ms": 3,
        "back_to_normal_s": 1,
        "health_false_alarms": 0,
        "rollback_by_clients": 0,
        "survived_faults": 1,
        "total_faults": 2,
    }


def test_part_that_was_not_measured_has_no_figure() -> None:
    assert set(headline([]).values()) == {None}
    found = headline([SURVIVAL])
    assert (found["hung"], found["survived_faults"], found["refusal_p99_ms"]) == (None, 1, None)


def test_clients_time_stands_in_for_the_gateways() -> None:
    silent = replace(OVERLOAD, gateway_refusal_p99_ms=None)
    assert headline([LOAD, silent])["refusal_p99_ms"] == 40


def test_good_rows_break_nothing() -> None:
    assert broken_counts(ROWS) + broken_times(ROWS) == []


@pytest.mark.parametrize(
    ("row", "changes", "words"),
    [
        (CLIENTS, {"server_errors": 1}, "body: 1 server errors"),
        (CLIENTS, {"hung": 2}, "body: 2 hung"),
        (NEIGHBOUR, {"faults": {"status 400": 2}}, "good client: 2 x status 400"),
        (NEIGHBOUR, {"lost": 1}, "lost records"),
        (NEIGHBOUR, {"beside_p99_ms": 15.1}, "ratio: 1.51, at most 1.5"),
        (NEIGHBOUR, {"health_false_alarms": 1}, "/health"),
        (NEIGHBOUR, {"smuggled": 1}, "smuggled"),
        (LOAD, {"failed": 1}, "3 x peak: failed: 1"),
        (OVERLOAD, {"goodput_at_3x": 0.79}, "goodput"),
        (OVERLOAD, {"gateway_refusal_p99_ms": 150}, "150, at most 100"),
        (OVERLOAD, {"health_false_alarms": 1}, "/health"),
        (OVERLOAD, {"releases_written": 1}, "releases"),
        (OVERLOAD, {"bare_refusals": 1}, "Retry-After"),
        (OVERLOAD, {"back_to_normal_s": 6}, "normal"),
        (OVERLOAD, {"back_to_normal_s": None}, "normal"),
        (SURVIVAL, {"survived": False}, "SIGKILL: Envoy: not survived"),
    ],
)
def test_each_broken_promise_is_said(row: Row, changes: dict[str, Any], words: str) -> None:
    rows = [replace(row, **changes)]
    (broken,) = broken_counts(rows) + broken_times(rows)
    assert words in broken


def test_slow_machine_breaks_no_count() -> None:
    slow = replace(NEIGHBOUR, beside_p99_ms=100)
    assert broken_counts([slow, replace(OVERLOAD, goodput_at_3x=0.1, back_to_normal_s=None)]) == []


def test_other_parts_are_kept_from_an_earlier_result(tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    assert earlier_rows(path, ["faults"]) == []
    result: BenchmarkResult[Row] = BenchmarkResult(
        machine=describe_machine(()),
        date="2026-11-30T12:00:00+00:00",
        commit=None,
        command="",
        rows=ROWS,
        headline=headline(ROWS),
    )
    write_json(path, result)
    assert earlier_rows(path, ["faults"]) == ROWS[:-1]
    assert earlier_rows(path, ["malformed", "overload"]) == [SURVIVAL]
