"""A forgotten person is recognised again and not named."""

from pathlib import Path

from marloft.logs.pseudonym import pseudonym
from tests.file_modes import open_to_others, umask


def test_same_person_has_the_same_name_and_nobody_else(tmp_path: Path) -> None:
    name = pseudonym(tmp_path, "7")
    assert (len(name), pseudonym(tmp_path, "7")) == (32, name)
    assert pseudonym(tmp_path, "8") != name


def test_name_says_nothing_without_the_key(tmp_path: Path) -> None:
    with umask(0):
        name = pseudonym(tmp_path / "var", "7")
    key = tmp_path / "var" / "log" / "forget.key"
    assert open_to_others(tmp_path / "var") == []
    key.unlink()
    assert pseudonym(tmp_path / "var", "7") != name
