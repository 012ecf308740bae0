"""Workers that cannot start: `marloft serve` and `status` show the user's own error and line."""

import pytest

from harness import factories
from tests.e2e.running import Serving, configure, marloft
from tests.planted.failing_starts import CASES, plant

pytestmark = pytest.mark.e2e

VERSIONS = {name: f"2.{number}" for number, name in enumerate(CASES)}
# Each is started three times, side by side, and imports torch each time.
LIMIT_S = 240


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Serve all cases at once; return what the console and `status` say of each."""
    project = factories.write_project(tmp_path_factory.mktemp("starts"))
    for config in (project / "archive_configs").glob("*.yaml"):
        if config.name != "ranker_v1.yaml":
            config.unlink()
    for name, version in VERSIONS.items():
        plant(project, name, version)
    versions = ", ".join(f'"{version}": {{}}' for version in ["1.0", *VERSIONS.values()])
    configure(
        project,
        f"default_model: ranker\nmodels:\n  ranker:\n    versions: {{{versions}}}\n"
        '    default: "1.0"\n',
    )
    marloft(project, "apply")
    serving = Serving(project)
    serving.start()
    try:
        serving.wait_until(
            lambda: all(
                f"refused ranker {version}:" in serving.console.read_text()
                for version in VERSIONS.values()
            ),
            "refusal of each version",
            LIMIT_S,
        )
        console, status = serving.console.read_text(), marloft(project, "status", code=1)
    finally:
        serving.stop()
    return {
        name: (
            _line(console, f"refused ranker {version}: "),
            _line(status, f"ranker {version} is refused: "),
        )
        for name, version in VERSIONS.items()
    }


def _line(text: str, start: str) -> str:
    (line,) = {line.partition(start)[2] for line in text.splitlines() if start in line}
    return line


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.silent])
def test_users_own_error_is_shown_with_its_line(
    said: dict[str, tuple[str, str]], name: str
) -> None:
    expected = f"its workers do not start: {CASES[name].said}"
    assert said[name] == (expected, expected)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.silent])
def test_end_without_a_traceback_says_what_shows_the_line(
    said: dict[str, tuple[str, str]], name: str
) -> None:
    console, status = said[name]
    assert console == status
    assert "they end without a traceback, as by sys.exit or os._exit" in console
    assert f"`marloft verify model_store/ranker-{VERSIONS[name]}.mar --replay --trust`" in console


def test_no_message_of_torchserves_own_is_shown(said: dict[str, tuple[str, str]]) -> None:
    assert "torch_handler" not in str(said)
    assert "model_service_worker" not in str(said)
