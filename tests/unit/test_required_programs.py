import pytest

from tests import required_programs


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv(required_programs.REQUIRE, raising=False)


def test_missing_tool_skips_with_the_command_that_cures_it(nothing_installed: None) -> None:
    with pytest.raises(pytest.skip.Exception, match="apt-get install prometheus-alertmanager"):
        required_programs.tool("alertmanager")


def test_missing_tool_fails_where_it_is_required(
    nothing_installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(required_programs.REQUIRE, "1")
    with pytest.raises(pytest.fail.Exception, match="promtool is not installed"):
        required_programs.tool("promtool")
