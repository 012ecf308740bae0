from pathlib import Path

import pytest

from marloft.deploy.processes.worker_log import last_traceback

LINE = "2026-01-01T00:00:00,000 [INFO ] W-9000-{}-stdout MODEL_LOG - {}"
TRACE = """\
Backend worker process died.
Traceback (most recent call last):
  File "/site/ts/model_loader.py", line 143, in load
    initialize_fn(service.context)
  File "/tmp/models/abc/broken.py", line 15, in load
    raise OSError("the planted fault")
OSError: the planted fault
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "model_log.log"


def write(log: Path, worker: str, text: str) -> None:
    lines = [LINE.format(worker, line) for line in text.splitlines()]
    with log.open("a") as stream:
        stream.write("\n".join(lines) + "\n")


def test_last_traceback_says_error_file_line_and_function(log: Path) -> None:
    write(log, "ranker_3.0", TRACE + "Torch worker started.\n")
    assert last_traceback(log, "ranker", "3.0") == (
        "OSError: the planted fault (broken.py:15 in load)"
    )


def test_last_traceback_is_the_newest_of_that_version(log: Path) -> None:
    write(log, "ranker_3.0", TRACE)
    write(log, "ranker_3.0", TRACE.replace("planted", "second"))
    write(log, "ranker_3.1", TRACE.replace("planted", "other version's"))
    said = last_traceback(log, "ranker", "3.0")
    assert said is not None and "second" in said


def test_last_traceback_takes_the_last_of_a_chain(log: Path) -> None:
    chained = TRACE + "\nDuring handling of the above exception, another exception occurred:\n\n"
    write(log, "ranker_3.0", chained + TRACE.replace("OSError: the", "ValueError: a"))
    said = last_traceback(log, "ranker", "3.0")
    assert said == "ValueError: a planted fault (broken.py:15 in load)"


@pytest.mark.parametrize("text", ["", "Torch worker started.\n", TRACE.partition("OSError:")[0]])
def test_last_traceback_is_none_without_a_whole_one(log: Path, text: str) -> None:
    assert last_traceback(log, "ranker", "3.0") is None
    write(log, "ranker_3.0", text)
    assert last_traceback(log, "ranker", "3.0") is None


def test_last_traceback_is_the_handlers_not_the_one_torchserve_adds(log: Path) -> None:
    added = """\
Traceback (most recent call last):
  File "/site/ts/model_service_worker.py", line 201, in handle_connection
    raise RuntimeError("{} - {}".format(code, result))
RuntimeError: 500 - Unknown exception
"""
    write(log, "ranker_3.0", TRACE + added)
    said = last_traceback(log, "ranker", "3.0")
    assert said == "OSError: the planted fault (broken.py:15 in load)"


def test_last_traceback_falls_back_to_torchserves_own(log: Path) -> None:
    own = TRACE.replace("/tmp/models/abc/broken.py", "/site/ts/model_service_worker.py")
    write(log, "ranker_3.0", own)
    said = last_traceback(log, "ranker", "3.0")
    assert said == "OSError: the planted fault (model_service_worker.py:15 in load)"
