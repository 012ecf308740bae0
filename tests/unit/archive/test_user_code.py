"""What the user's code raises is told with their lines; what is ours passes as it is."""

import pytest

from marloft.archive.user_code import UserCodeError, user_code
from marloft.errors import ArchiveError, ConfigError
from marloft.files import parse_json


def fail() -> None:
    """Stand for code of the user's: this file lies outside marloft."""
    try:
        raise OSError("first")
    except OSError as error:
        raise ExceptionGroup("faults", [ValueError("v")]) from error


def test_failure_is_one_line_with_the_traceback_of_the_users_lines() -> None:
    with pytest.raises(UserCodeError) as raised, user_code("x.py fails", "correct it."):
        fail()
    said = str(raised.value)
    assert said.startswith("x.py fails: ExceptionGroup: faults (1 sub-exception) (tests/unit/")
    assert ", caused by OSError: first (" in said
    assert said.endswith("; correct it.")
    assert "in fail" in raised.value.log
    assert "ValueError: v" in raised.value.log


def test_exit_is_a_failure() -> None:
    with pytest.raises(UserCodeError, match="x fails: SystemExit: 3 "), user_code("x fails", "c"):
        raise SystemExit(3)


def test_interruption_passes() -> None:
    with pytest.raises(KeyboardInterrupt), user_code("x fails", "c"):
        raise KeyboardInterrupt


def test_frames_before_the_users_are_left_out() -> None:
    # `parse_json` is marloft's, and calls nothing of the user's.
    with pytest.raises(UserCodeError) as raised, user_code("x fails", "c"):
        parse_json(b"{}", lambda: 3, "x")  # type: ignore[arg-type] # not a type
    assert "marloft/files.py" in raised.value.log, "called by the user's line, it stays"
    assert raised.value.log.index("test_user_code.py") < raised.value.log.index("marloft/files.py")


def test_error_of_ours_that_the_users_code_has_led_to_is_theirs() -> None:
    with pytest.raises(UserCodeError, match="x fails: ConfigError: x: "), user_code("x fails", "c"):
        parse_json(b"{", dict, "x")


def alone(error: Exception) -> None:
    """Let it be raised where no line of the user's is, as by a converter of their answer."""
    text = "with user_code('x fails', 'c', 'x.py:3'):\n    raise error"
    code = compile(text, "/venv/lib/python3.11/site-packages/converter.py", "exec")
    exec(code, {"error": error, "user_code": user_code})


def test_error_of_ours_alone_passes() -> None:
    ours = ArchiveError("refused")
    with pytest.raises(ArchiveError) as raised:
        alone(ours)
    assert raised.value is ours


def test_place_is_named_when_none_of_the_users_lines_is_in_it() -> None:
    with pytest.raises(UserCodeError, match=r"x fails: KeyError: 'k' \(x\.py:3\); c"):
        alone(KeyError("k"))


def test_what_is_raised_is_a_mistake_of_the_users() -> None:
    assert issubclass(UserCodeError, ConfigError)
    assert UserCodeError("m", "l").exit_code == 2
