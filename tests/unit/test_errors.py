"""A command's errors: one line and a code for a user's mistake, a traceback for a bug."""

import errno

import pytest

from marloft.errors import ConfigError, StepError, reported


@pytest.mark.parametrize(("error", "code"), [(ConfigError("no"), 2), (StepError("no"), 1)])
def test_error_ends_the_command_in_one_line_with_its_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, reported("marloft"):
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err == "marloft: no\n"


def test_file_of_another_user_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, reported("marloft"):
        raise PermissionError(errno.EACCES, "Permission denied", "var/lock")
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "marloft: var/lock: Permission denied; run this as the user that it belongs to. "
        "Records and state are for the one that runs `marloft serve` alone.\n"
    )


def test_bug_is_not_reported_as_a_mistake() -> None:
    with pytest.raises(KeyError), reported("marloft"):
        raise KeyError
