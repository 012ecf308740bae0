"""Pages that texts name are shown where they lie on this machine."""

import re
from pathlib import Path

import pytest

import marloft
from harness.factories import REPOSITORY
from marloft import pages
from marloft.errors import ConfigError, reported
from marloft.pages import shared_folder, with_paths

NAMED = re.compile(r"docs/[\w-]+\.\w+")


def test_page_below_the_working_directory_is_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert with_paths("Read on: docs/archive.md.") == "Read on: docs/archive.md."


def test_page_elsewhere_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_paths("Read on: docs/archive.md.") == f"Read on: {REPOSITORY}/docs/archive.md."


@pytest.mark.parametrize("text", ["docs/nosuch.md", "/home/docs/archive.md", "mydocs/archive.md"])
def test_other_path_stays(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_paths(text) == text


def test_installed_wheel_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "marloft" / "pages.py"
    page = tmp_path / "marloft" / "share" / "docs" / "new.md"
    page.parent.mkdir(parents=True)
    page.touch()
    monkeypatch.setattr(pages, "__file__", str(module))
    monkeypatch.chdir(REPOSITORY)
    assert shared_folder() == tmp_path / "marloft" / "share"
    assert with_paths("docs/new.md") == str(page)


def test_error_names_a_page_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit), reported("marloft"):
        raise ConfigError("derive from it (docs/new.md).")
    told = capsys.readouterr().err
    assert told == f"marloft: derive from it ({REPOSITORY}/docs/new.md).\n"


def test_every_page_that_the_source_names_exists() -> None:
    source = Path(marloft.__file__).parent
    named = {name for file in source.rglob("*.py") for name in NAMED.findall(file.read_text())}
    assert {"docs/archive.md", "docs/new.md"} <= named
    assert [name for name in sorted(named) if not (REPOSITORY / name).is_file()] == []
