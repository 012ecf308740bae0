"""What packing and verifying archives costs, and which hostile archives get past them.

    python -m benchmarks.archive --archive build/demo/model_store/ranker-1.0.mar \
        --out benchmarks/results/archive.json

Packs a model of 2 GB beside a plain loop of 1 MiB that reads, hashes, writes and flushes the same
file; each runs in a process of its own, in turn. Verifies `--archive` (by default the tests' tiny
ranker), in process after the import and as a command. Runs `verify` and its replay on every
archive of tests/hostile_archives. Ends with 1 when one of those passes or a good one is refused.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.progress import say
from harness import factories
from harness.hostile_archives.archives import HOSTILE_ARCHIVES, good_archive
from harness.hostile_archives.building import ARCHIVE
from harness.hostile_archives.handlers import HOSTILE_HANDLERS
from marloft.archive.pack import write_archive
from marloft.archive.replay import replay
from marloft.archive.sign import sign
from marloft.archive.verify import ANY_ORIGIN, VerifyReport, verify
from marloft.contract.benchmark import BenchmarkResult, Headline
from marloft.contract.check import Check
from marloft.contract.manifest import Artifact
from marloft.errors import reported
from marloft.files import sha256_file, sidecar_path, write_json
from marloft.training.provenance import describe_machine, describe_result

SIZE, QUICK_SIZE = 2_000_000_000, 128 << 20
_BLOCK = 1 << 20
# Not getrusage(): its largest size is also that of the process that was forked.
_REPORT = """
import re, sys, time
from pathlib import Path
{setup}
started = time.perf_counter()
{work}
peak_kib = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
print(time.perf_counter() - started, int(peak_kib) / 1024)
"""
_PACK = _REPORT.format(
    setup="from marloft.archive.pack import write_archive",
    work="write_archive(Path(sys.argv[1]), Path(sys.argv[2]))",
)
_COPY = _REPORT.format(
    setup="import hashlib, os",
    work="""
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as copy:
    while block := source.read(1 << 20):
        digest.update(block)
        copy.write(block)
    copy.flush()
    os.fsync(copy.fileno())
""",
)


class Timing(Struct, frozen=True, kw_only=True):
    """One thing that was timed: the median of `runs`, and the largest resident memory in MiB.

    `peak_mb` is None where the work was done in this process.
    """

    what: str
    size_bytes: int
    runs: int
    seconds: float
    peak_mb: float | None = None


class HostileResult(Struct, frozen=True, kw_only=True):
    """One hostile archive: the codes with culprits it should have and those it got."""

    name: str
    expected: list[tuple[str, str]]
    found: list[tuple[str, str]]


def packing(folder: Path, size: int, runs: int) -> list[Timing]:
    """Pack a model of `size` bytes and copy it, in turn; return both medians."""
    project = factories.write_project(folder / "large")
    artifact = project / "build" / "export" / "model.onnx"
    _write_model(artifact, size)
    config = project / "archive_configs" / "ranker_v1.yaml"
    keys = ("card:", "audit:")
    lines = [line for line in config.read_text().splitlines() if not line.startswith(keys)]
    config.write_text("\n".join(lines) + "\n")
    copies, packs = [], []
    for _ in range(runs):
        copy = folder / "copy"
        copies.append(_measured(_COPY, artifact, copy))
        copy.unlink()
        store = folder / "store"
        packs.append(_measured(_PACK, config, store))
        for file in store.iterdir():
            file.unlink()
    artifact.unlink()
    return [
        Timing(
            what=what,
            size_bytes=size,
            runs=runs,
            seconds=statistics.median(seconds for seconds, _ in found),
            peak_mb=max(peak for _, peak in found),
        )
        for what, found in (("copy", copies), ("pack", packs))
    ]


def verifying(archive: Path) -> list[Timing]:
    """Time `verify` and `replay` of one archive, in this process and as commands."""
    marloft = [str(Path(sys.executable).with_name("marloft")), "verify", str(archive)]
    work: list[tuple[str, int, Callable[[], object]]] = [
        ("verify", 20, lambda: _accepted(verify(archive))),
        ("replay", 3, lambda: _accepted(replay(archive))),
        ("verify as a command", 5, lambda: _command(marloft)),
        ("replay as a command", 3, lambda: _command([*marloft, "--replay", "--trust"])),
    ]
    return [
        Timing(
            what=what,
            size_bytes=archive.stat().st_size,
            runs=runs,
            seconds=statistics.median(_seconds(run) for _ in range(runs)),
        )
        for what, runs, run in work
    ]


def hostile_results(folder: Path, path: Path) -> list[HostileResult]:
    """Verify every hostile archive, and replay those that only a run can find."""
    good = good_archive(path, folder / "keys")

    def result(number: int) -> HostileResult:
        place = folder / str(number) / ARCHIVE
        place.parent.mkdir()
        if number < len(HOSTILE_ARCHIVES):
            hostile = HOSTILE_ARCHIVES[number]
            policy = hostile.make(good, place) or ANY_ORIGIN
            expected = [(hostile.code, hostile.culprit)]
            return _result(hostile.name, expected, verify(place, policy).checks)
        handler = HOSTILE_HANDLERS[number - len(HOSTILE_ARCHIVES)]
        report = replay(handler.write(good.members, place), limits=handler.limits)
        return _result(handler.name, handler.found, report.checks)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(result, range(len(HOSTILE_ARCHIVES) + len(HOSTILE_HANDLERS))))


def good_archives(folder: Path) -> list[tuple[Path, VerifyReport]]:
    """Pack and verify every archive of the repository, one of them signed."""
    project = factories.write_project(folder / "good", torchscript=True)
    store = project / "model_store"
    found = []
    for config in sorted((project / "archive_configs").glob("*.yaml")):
        path = store / write_archive(config, store).file
        if path.name == ARCHIVE:
            good = good_archive(path, project / "keys")
            sign(path, good.keys / "marloft.key")
            found.append((path, verify(path, good.signed)))
        found.append((path, verify(path)))
    return found


def headline(
    timings: Sequence[Timing], hostile: Sequence[HostileResult], good_refused: int
) -> Headline:
    """Return the figures that the documentation quotes."""
    by = {each.what: each for each in timings}
    return {
        "pack_2gb_peak_mb": round(by["pack"].peak_mb or 0, 1),
        "pack_vs_copy_ratio": round(by["pack"].seconds / by["copy"].seconds, 2),
        "verify_s": round(by["replay"].seconds, 3),
        "verify_static_s": round(by["verify"].seconds, 4),
        "hostile_refused": sum(each.found == each.expected for each in hostile),
        "hostile_total": len(hostile),
        "hostile_missed": sum(each.found != each.expected for each in hostile),
        "good_refused": good_refused,
    }


def _write_model(artifact: Path, size: int) -> None:
    """Put a model of random bytes in the place of the tiny one, its sidecar too."""
    noise = os.urandom(_BLOCK)
    with artifact.open("wb") as stream:
        for start in range(0, size, _BLOCK):
            # Each block another one, so that nothing could be saved by comparing.
            stream.write((start.to_bytes(8, "big") + noise[8:])[: size - start])
    sidecar = sidecar_path(artifact)
    tiny = msgspec.json.decode(sidecar.read_bytes(), type=Artifact)
    large = msgspec.structs.replace(tiny, sha256=sha256_file(artifact), size_bytes=size)
    write_json(sidecar, large)


def _measured(code: str, *arguments: Path) -> tuple[float, float]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak_mb = map(float, done.stdout.split())
    return seconds, peak_mb


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _accepted(report: VerifyReport) -> None:
    if not report.ok:
        raise RuntimeError(f"{report.path} is refused: {report.checks}")


def _command(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _result(name: str, expected: list[tuple[str, str]], checks: Sequence[Check]) -> HostileResult:
    found = [(check.code, check.culprit) for check in checks if not check.ok]
    return HostileResult(name=name, expected=expected, found=found)


def main() -> None:
    """Parse the command line, measure, write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/benchmark/archive.json"))
    parser.add_argument("--archive", type=Path, help="the archive to verify")
    parser.add_argument("--quick", action="store_true", help=f"pack {QUICK_SIZE >> 20} MiB, once")
    options = parser.parse_args()
    with reported("error"), tempfile.TemporaryDirectory(prefix="archive-") as scratch:
        folder = Path(scratch)
        machine = describe_machine(("msgspec", "model-signing", "torchserve"))
        size, runs = (QUICK_SIZE, 1) if options.quick else (SIZE, 3)
        good = good_archives(folder)
        tiny = next(path for path, _ in good if path.name == ARCHIVE)
        timings = [*packing(folder, size, runs), *verifying(options.archive or tiny)]
        for each in timings:
            say(f"{each.what} of {each.size_bytes:,} bytes: {each.seconds:.4f} s")
        hostile = hostile_results(folder, tiny)
        figures = headline(timings, hostile, sum(not report.ok for _, report in good))
        result: BenchmarkResult[Timing | HostileResult] = describe_result(
            machine, Path(__file__), [*timings, *hostile], figures
        )
        write_json(options.out, result)
    missed = [each for each in hostile if each.found != each.expected]
    for wrong in missed:
        say(f"MISSED {wrong.name}: {wrong.found}, not {wrong.expected}")
    say(str(result.headline))
    if missed or not all(r.ok for _, r in good):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
