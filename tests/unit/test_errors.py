"""A command's errors: one line and a code for a user's mistake, a traceback for a bug."""

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


def test_bug_is_not_reported_as_a_mistake() -> None:
    with pytest.raises(KeyError), reported("marloft"):
        raise KeyError
