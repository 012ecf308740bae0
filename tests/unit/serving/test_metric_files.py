"""A worker counts on a full disk too: in files while there is room, then in memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from marloft.serving.metric_files import ReservedFile
from tests.small_disk import fill, mounted

ENTRIES = 2000
_COUNT = """
import sys
from pathlib import Path
from typing import Any
from prometheus_client import CollectorRegistry, Counter
from marloft.serving.metric_files import use_reserved_files
if sys.argv[1] == "reserved":
    use_reserved_files()
registry = CollectorRegistry()
few = Counter("few", "text", registry=registry)
print("started", flush=True)
sys.stdin.readline()
many = Counter("many", "text", ["label"], registry=registry)
for number in range(1000):
    many.labels(f"{number:0100d}").inc()
few.inc()
assert registry.get_sample_value("few_total") == 1
assert registry.get_sample_value("many_total", {"label": f"{999:0100d}"}) == 1
"""


def count_on_a_full_disk(folder: Path, kind: str) -> int:
    """Fill the disk after a process has made its file; return its exit code when it has counted."""
    with mounted(folder) as disk:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(disk / "metrics")}
        (disk / "metrics").mkdir()
        with subprocess.Popen(
            [sys.executable, "-c", _COUNT, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"started\n"
            fill(disk)
            process.communicate(b"\n")
        return process.returncode


def test_full_disk_ends_no_worker(tmp_path: Path) -> None:
    assert count_on_a_full_disk(tmp_path / "small", "reserved") == 0


def test_sparse_files_would_end_it(tmp_path: Path) -> None:
    assert count_on_a_full_disk(tmp_path / "small", "sparse") == -signal.SIGBUS


def test_worker_that_starts_on_a_full_disk_counts_in_memory(tmp_path: Path) -> None:
    with mounted(tmp_path / "small") as disk:
        fill(disk)
        counts: Any = ReservedFile(str(disk / "counter_1.db"))
        counts.write_value("key", 2.0, 0.0)
        assert counts.read_value("key") == (2.0, 0.0)
        assert [path.name for path in disk.iterdir()] == ["filler"]
        counts.close()


def test_missing_folder_leaves_the_counts_in_memory(tmp_path: Path) -> None:
    counts: Any = ReservedFile(str(tmp_path / "none" / "counter_1.db"))
    counts.write_value("key", 2.0, 0.0)
    assert counts.read_value("key") == (2.0, 0.0)


@pytest.mark.parametrize("in_memory", [False, True])
def test_it_grows_and_keeps_every_value(tmp_path: Path, in_memory: bool) -> None:
    path = tmp_path / ("none/counter_1.db" if in_memory else "counter_1.db")
    counts: Any = ReservedFile(str(path))
    for number in range(ENTRIES):
        counts.write_value(f"key {number:0200d}", float(number), 1.0)
    found = [value for _, value, _ in counts.read_all_values()]
    assert found == list(map(float, range(ENTRIES)))
    counts.close()
    if not in_memory:
        reader: Any = ReservedFile(str(path), read_mode=True)
        assert [value for _, value, _ in reader.read_all_values()] == found
        reader.close()
        assert path.stat().st_blocks * 512 >= path.stat().st_size, "each block is there"


def test_what_was_counted_moves_to_memory_when_the_file_cannot_grow(tmp_path: Path) -> None:
    with mounted(tmp_path / "small") as disk:
        counts: Any = ReservedFile(str(disk / "counter_1.db"))
        counts.write_value("first", 7.0, 0.0)
        fill(disk)
        for number in range(ENTRIES):
            counts.write_value(f"key {number:0200d}", float(number), 1.0)
        assert counts.read_value("first") == (7.0, 0.0)
        assert counts.read_value(f"key {ENTRIES - 1:0200d}") == (ENTRIES - 1.0, 1.0)
