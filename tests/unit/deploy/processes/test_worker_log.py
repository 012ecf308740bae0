from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from marloft.deploy.processes.worker_log import last_failure, last_words
from tests.planted.failing_starts import CASES

LINE = "2026-01-01T00:00:00,000 [INFO ] W-{}-{}-stdout MODEL_LOG - {}"
REAL = REPOSITORY / "tests" / "fixtures" / "failing_starts.log"
TRACE = """\
Backend worker process died.
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/ts/model_loader.py", line 143, in load
    initialize_fn(service.context)
  File "/tmp/marloft-x/models/0123456789abcdef0123456789abcdef/broken.py", line 15, in load
    raise OSError("the planted fault")
OSError: the planted fault
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "model_log.log"


def write(log: Path, worker: str, text: str, number: int = 9000) -> None:
    lines = [LINE.format(number, worker, line) for line in text.splitlines()]
    with log.open("a") as stream:
        stream.write("\n".join(lines) + "\n")


@pytest.mark.parametrize("case", CASES)
def test_real_workers_are_told_by_the_users_own_error(case: str) -> None:
    """Each case once, as logged while tests/e2e/test_failing_starts.py ran."""
    version = f"2.{list(CASES).index(case)}"
    said = last_failure(REAL, "ranker", version)
    assert said == (None if CASES[case].silent else CASES[case].said)


def test_last_words_are_of_stderr() -> None:
    version = f"2.{list(CASES).index('exit_in_import')}"
    assert last_words(REAL, "ranker", version) == "no licence"
    assert last_words(REAL, "ranker", "2.0") is None
    assert last_words(REAL.with_name("gone.log"), "ranker", version) is None


def test_workers_of_one_version_that_write_at_once_are_kept_apart(log: Path) -> None:
    other = TRACE.replace("planted fault", "other fault")
    lines = zip(TRACE.splitlines(), other.splitlines(), strict=True)
    for one, two in lines:
        write(log, "ranker_3.0", one + "\n")
        write(log, "ranker_3.0", two + "\n", number=9001)
    said = last_failure(log, "ranker", "3.0")
    assert said == "OSError: the other fault (broken.py:15 in load)"


def test_last_failure_says_error_file_line_and_function(log: Path) -> None:
    write(log, "ranker_3.0", TRACE + "s_name_part0=/tmp/.ts.sock, pid=7\nTorch worker started.\n")
    assert last_failure(log, "ranker", "3.0") == (
        "OSError: the planted fault (broken.py:15 in load)"
    )


def test_last_failure_is_the_newest_of_that_version(log: Path) -> None:
    write(log, "ranker_3.0", TRACE)
    write(log, "ranker_3.0", TRACE.replace("planted", "second"))
    write(log, "ranker_3.1", TRACE.replace("planted", "other version's"))
    said = last_failure(log, "ranker", "3.0")
    assert said is not None and "second" in said


def test_last_failure_is_the_chains_last_and_what_it_came_after(log: Path) -> None:
    chained = TRACE + "\nDuring handling of the above exception, another exception occurred:\n\n"
    second = TRACE.partition("\n")[2].replace("OSError: the", "ValueError: a")
    write(log, "ranker_3.0", chained + second)
    said = last_failure(log, "ranker", "3.0")
    assert said == (
        "ValueError: a planted fault (broken.py:15 in load), after "
        "OSError: the planted fault (broken.py:15 in load)"
    )


@pytest.mark.parametrize("text", ["", "Torch worker started.\n", TRACE.partition("OSError:")[0]])
def test_last_failure_is_none_without_a_whole_one(log: Path, text: str) -> None:
    assert last_failure(log, "ranker", "3.0") is None
    write(log, "ranker_3.0", text)
    assert last_failure(log, "ranker", "3.0") is None


def test_last_failure_is_the_handlers_not_the_one_torchserve_adds(log: Path) -> None:
    added = """\
Traceback (most recent call last):
  File "/lib/python3.11/site-packages/ts/model_service_worker.py", line 201, in handle_connection
    raise RuntimeError("{} - {}".format(code, result))
RuntimeError: 500 - Unknown exception
"""
    write(log, "ranker_3.0", TRACE + added)
    said = last_failure(log, "ranker", "3.0")
    assert said == "OSError: the planted fault (broken.py:15 in load)"


def test_last_failure_falls_back_to_torchserves_own(log: Path) -> None:
    own = TRACE.replace(
        "/tmp/marloft-x/models/0123456789abcdef0123456789abcdef/broken.py",
        "/venv/lib/python3.11/site-packages/ts/model_service_worker.py",
    )
    write(log, "ranker_3.0", own)
    said = last_failure(log, "ranker", "3.0")
    assert said == "OSError: the planted fault (ts/model_service_worker.py:15 in load)"
