"""Tracebacks as this Python writes them are explained by the user's own error and line."""

import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from marloft.tracebacks import Failure, Frame, Raised, read_failures

HERE = "tests/unit/test_tracebacks.py"
LIBRARY = "/venv/lib/python3.11/site-packages/ts/model_loader.py"


def explained(text: str) -> Failure:
    (failure,) = read_failures(text.split("\n"))
    return failure


def failing(act: Callable[[], object]) -> str:
    """Return what is said of the exception that `act` raises, with this file's lines as 0."""
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - SystemExit is a case
        return str(explained("".join(traceback.format_exception(error))))
    raise AssertionError


def line_of(marker: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    (number,) = (n for n, line in enumerate(lines, start=1) if line.endswith(f"# {marker}"))
    return number


def lookup() -> object:
    table: dict[str, object] = {}
    return table["table"]  # key


def chained(depth: int, *, direct: bool) -> None:
    """Raise an error that `depth` others led to."""
    if depth == 0:
        lookup()
    try:
        chained(depth - 1, direct=direct)
    except (KeyError, ValueError) as error:
        raise ValueError(f"level {depth}") from (error if direct else error.__context__)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_chain_of_any_depth_is_its_last_error_and_the_one_it_began_with(depth: int) -> None:
    said = failing(lambda: chained(depth, direct=True))
    last, first = said.split(", caused by ")
    assert last.startswith(f"ValueError: level {depth} ({HERE}:")
    assert first == f"KeyError: 'table' ({HERE}:{line_of('key')} in lookup)"


def test_error_while_another_is_handled_is_said_to_come_after_it() -> None:
    def act() -> None:
        try:
            lookup()
        except KeyError:
            raise ValueError("second")  # noqa: B904 # implicit

    last, first = failing(act).split(", after ")
    assert last == f"ValueError: second ({HERE}:{line_of('implicit')} in act)"
    assert first.startswith("KeyError: 'table' (")


def test_error_from_none_has_no_cause() -> None:
    def act() -> None:
        try:
            lookup()
        except KeyError:
            raise ValueError("alone") from None

    assert failing(act).startswith("ValueError: alone (")
    assert "KeyError" not in failing(act)


def test_cause_that_was_never_raised_has_no_line_and_is_left_out() -> None:
    def act() -> None:
        raise ValueError("last") from KeyError("unraised")

    assert failing(act).startswith("ValueError: last (")
    assert "unraised" not in failing(act)


def test_message_of_many_lines_is_one_line() -> None:
    def act() -> None:
        raise ValueError("cannot load:\n  missing:\n\n  a\n+--------+\n--------")

    assert failing(act).startswith("ValueError: cannot load: missing: a +--------+ -------- (")


def test_long_message_is_cut() -> None:
    def act() -> None:
        raise ValueError("x" * 10_000)

    assert len(failing(act)) < 600
    assert "x…" in failing(act)


def test_syntax_error_has_the_file_that_holds_it() -> None:
    def act() -> None:
        compile("def f(:\n  pass\n", "/project/steps.py", "exec")

    assert failing(act) == "SyntaxError: invalid syntax (/project/steps.py:1)"


def test_error_in_a_library_is_told_with_the_users_line() -> None:
    def act() -> None:
        Path("/no/such/file").read_text()  # library

    assert failing(act) == (
        "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file' "
        f"({HERE}:{line_of('library')} in act)"
    )


def test_exit_is_told_like_an_error() -> None:
    assert failing(lambda: sys.exit("no licence")).startswith("SystemExit: no licence (")


def group(*inside: Exception) -> None:
    raise ExceptionGroup("faults", list(inside))


def test_group_holds_its_parts_however_deep() -> None:
    inner = ExceptionGroup("inner", [KeyError("a"), OSError("b")])
    said = failing(lambda: group(ValueError("v"), inner))
    assert said.startswith("ExceptionGroup: faults (2 sub-exceptions) (")
    assert said.endswith(", holding ValueError: v; KeyError: 'a'; OSError: b")


def test_only_the_first_parts_of_a_large_group_are_said() -> None:
    said = failing(lambda: group(*map(ValueError, "abcde")))
    assert said.endswith("holding ValueError: a; ValueError: b; ValueError: c; 2 more")


def test_part_of_a_group_is_its_last_exception() -> None:
    def part() -> Exception:
        try:
            chained(1, direct=True)
        except ValueError as error:
            return error
        raise AssertionError

    said = failing(lambda: group(part(), TypeError("t")))
    assert "holding ValueError: level 1 (" in said
    assert said.endswith("; TypeError: t")
    assert "KeyError" not in said


def test_group_in_a_chain_keeps_its_parts() -> None:
    def act() -> None:
        try:
            group(ValueError("v"), TypeError("t"))
        except ExceptionGroup as error:
            raise RuntimeError("after all") from error

    last, first = failing(act).split(", caused by ")
    assert last.startswith("RuntimeError: after all (")
    assert first.endswith(", holding ValueError: v; TypeError: t")


def test_crash_in_native_code_has_the_innermost_line_of_python() -> None:
    code = "import ctypes\ndef load():\n    ctypes.string_at(0)\nload()\n"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    failure = explained(done.stderr)
    assert failure.shown.error == "Fatal Python error: Segmentation fault"
    functions = [frame.function for frame in failure.shown.frames if frame.file == "<string>"]
    assert functions == ["<module>", "load"]


def raised(error: str, *frames: tuple[str, str]) -> str:
    lines = [f'  File "{file}", line 7, in {function}\n    code' for file, function in frames]
    return "\n".join(["Traceback (most recent call last):", *lines, error])


ANSWER = raised(
    "ModuleNotFoundError: no ts.x", (LIBRARY, "load"), (LIBRARY, "_load_default_handler")
)
WHILE = "\n\nDuring handling of the above exception, another exception occurred:\n\n"


def test_torchserves_answer_to_an_import_error_is_left_out() -> None:
    missing = raised("ModuleNotFoundError: no x", (LIBRARY, "load"), ("<frozen importlib>", "find"))
    # Without a line of the user's: the handler itself is not there.
    assert str(explained(missing + WHILE + ANSWER)) == (
        "ModuleNotFoundError: no x (ts/model_loader.py:7 in load)"
    )
    assert str(explained(ANSWER)).startswith("ModuleNotFoundError: no ts.x")


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/tmp/x/models/0123456789abcdef0123456789abcdef/handler.py", True),
        ("handler.py", True),
        ("/home/me/project/train.py", True),
        (LIBRARY, False),
        ("/usr/lib/python3/dist-packages/numpy/core.py", False),
        ("/usr/lib/python3.11/json/__init__.py", False),
        ("<frozen importlib._bootstrap>", False),
        (str(Path(sys.modules[Frame.__module__].__file__ or "")), False),
    ],
)
def test_users_code_is_what_is_no_library(file: str, own: bool) -> None:
    assert Frame(file, 1, "f").is_own is own


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("/tmp/x/models/0123456789abcdef0123456789abcdef/lib/steps.py", "lib/steps.py:1"),
        (LIBRARY, "ts/model_loader.py:1"),
        (str(Path.cwd() / "train.py"), "train.py:1"),
        ("/elsewhere/train.py", "/elsewhere/train.py:1"),
    ],
)
def test_place_is_as_short_as_it_is_clear(file: str, place: str) -> None:
    assert Frame(file, 1, "f").place == place


def test_tracebacks_that_do_not_follow_from_each_other_are_apart() -> None:
    text = f"{ANSWER}\nlog line\n{ANSWER}\n"
    failures = read_failures(text.split("\n"))
    assert [failure.line for failure in failures] == [0, 7]


def test_traceback_that_was_cut_off_is_left_out_and_what_led_to_it_kept() -> None:
    whole = raised("ValueError: mine", ("/project/handler.py", "load"))
    cut = ANSWER.rpartition("\n")[0]
    assert read_failures(cut.split("\n")) == []
    assert str(explained(whole + WHILE + cut)) == "ValueError: mine (/project/handler.py:7 in load)"


def test_source_that_looks_like_a_groups_margin_is_source() -> None:
    text = '  File "/project/a.py", line 7, in f\n    | b'
    failure = explained(f"Traceback (most recent call last):\n{text}\nTypeError: no |")
    assert failure.raised == (Raised("TypeError: no |", (Frame("/project/a.py", 7, "f"),), "", 0),)


def test_next_words_of_torchserve_are_no_message() -> None:
    text = f"{ANSWER}\ns_name_part0=/tmp/.ts.sock, pid=7\nListening on port: x"
    assert explained(text).shown.error == "ModuleNotFoundError: no ts.x"


@pytest.mark.parametrize("text", ["", "all is well", "ValueError: no traceback"])
def test_text_without_a_traceback_has_none(text: str) -> None:
    assert read_failures(text.split("\n")) == []
