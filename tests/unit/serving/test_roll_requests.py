"""Writers hear that they are asked for a new segment, also those that write nothing."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.files import write_atomic
from marloft.serving.roll_requests import RollRequests

EVERY_S = 0.01


class Writer:
    def __init__(self, path: Path) -> None:
        self.asked = threading.Semaphore(0)
        self.requests = RollRequests(path, self.roll, EVERY_S)
        self.requests.start()

    def roll(self) -> None:
        self.asked.release()

    def is_asked(self, timeout_s: float = 10.0) -> bool:
        return self.asked.acquire(timeout=timeout_s)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "roll"
    path.write_bytes(b"before it began")
    return path


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.requests.end()


def test_each_change_is_one_request(writer: Writer, path: Path) -> None:
    assert not writer.is_asked(20 * EVERY_S)
    for content in (b"once", b"twice"):
        write_atomic(path, content)
        assert writer.is_asked()
    assert not writer.is_asked(20 * EVERY_S)


def test_file_that_comes_later_is_a_request(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "none" / "roll")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "roll").write_bytes(b"once")
    assert writer.is_asked()
    writer.requests.end()


def test_writer_that_is_gone_is_not_kept(path: Path) -> None:
    before = threading.active_count()
    writer = Writer(path)
    del writer
    gc.collect()
    deadline = threading.Event()
    for _ in range(1000):
        if threading.active_count() <= before:
            return
        deadline.wait(EVERY_S)
    pytest.fail("the watch of a writer that is gone goes on")


def test_after_its_end_nobody_is_asked(writer: Writer, path: Path) -> None:
    writer.requests.end()
    path.write_bytes(b"once")
    assert not writer.is_asked(20 * EVERY_S)
