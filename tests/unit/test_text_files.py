"""A text file that no editor should have saved so is named with its first wrong byte."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from marloft import text_files
from marloft.archive.checks.requirements import read_requirements
from marloft.contract.manifest import Artifact
from marloft.deploy.processes.torchserve import read_properties
from marloft.errors import ConfigError
from marloft.files import read_json, read_plain_yaml
from marloft.text_files import read_text


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(100_000_000)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "Latin-1": (
        lambda path: path.write_bytes("first: 1\nname: Müller\n".encode("latin-1")),
        r"byte 0xfc at offset 16 \(line 2\) is not UTF-8; save the file as UTF-8\.",
    ),
    "UTF-16": (lambda path: path.write_text("a: 1\n", encoding="utf-16"), "is UTF-16; save it as"),
    "UTF-16 without a mark": (
        lambda path: path.write_text("a: 1\n", encoding="utf-16-le"),
        r"there is a NUL byte at offset 1 \(line 1\)",
    ),
    "byte order mark": (
        lambda path: path.write_text("a: 1\n", encoding="utf-8-sig"),
        "begins with a byte order mark; save it as UTF-8 without one",
    ),
    "NUL": (lambda path: path.write_bytes(b"a: 1\n\0"), r"NUL byte at offset 5 \(line 2\)"),
    "100 MB": (_sparse, "has 100,000,000 bytes, more than 67,108,864"),
    "pipe": (os.mkfifo, "is a pipe or a device; name a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device; name a file"),
    "folder": (Path.mkdir, "is a folder; name a file"),
    "missing": (lambda _: None, "does not exist; check the path"),
    "link to itself": (lambda path: path.symlink_to(path), "cannot be read: Too many levels"),
    # A regular file of the kernel's that answers each read with an error, to root too.
    "unreadable": (
        lambda path: path.symlink_to("/proc/self/mem"),
        "cannot be read: Input/output error",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_file_is_told_in_one_line_by_everybody_who_reads_text(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.yaml"
    make, message = WRONG[kind]
    make(path)
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_text(path),
        lambda: read_plain_yaml(path),
        lambda: read_json(path, Artifact),
        lambda: read_requirements(path),
    )
    if path.is_file():
        readers += (lambda: read_properties(path),)
    for read in readers:
        with pytest.raises(ConfigError, match=message) as told:
            read()
        assert str(path) in str(told.value)
        assert "\n" not in str(told.value)


def test_text_of_any_language_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("Müller, 李, 🙂\n", encoding="utf-8")
    assert read_text(path) == "Müller, 李, 🙂\n"


def test_no_more_than_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LARGEST_BYTES", 4)
    path = tmp_path / "file"
    path.write_text("four")
    assert read_text(path) == "four"
    path.write_text("five!")
    with pytest.raises(ConfigError, match="has 5 bytes, more than 4"):
        read_text(path)
