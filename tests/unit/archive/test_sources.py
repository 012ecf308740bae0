"""Members from files, folders and globs; what would differ on another machine is refused."""

from pathlib import Path

import pytest

from marloft.archive.sources import expand, located
from marloft.errors import ConfigError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("assets/a.txt", "assets/deep/b.txt", "assets/deep/c.json", "one.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "assets" / "__pycache__").mkdir()
    (tmp_path / "assets" / "__pycache__" / "x.pyc").touch()
    return tmp_path / "a.yaml"


def test_folder_is_kept_with_its_folders(config: Path) -> None:
    found = expand(config, {"words": "assets"})
    folder = config.parent / "assets"
    assert found == {
        "words/a.txt": str(folder / "a.txt"),
        "words/deep/b.txt": str(folder / "deep" / "b.txt"),
        "words/deep/c.json": str(folder / "deep" / "c.json"),
    }


def test_glob_is_kept_from_its_first_wildcard_on(config: Path) -> None:
    assert set(expand(config, {"words": "assets/**/*.txt"})) == {"words/a.txt", "words/deep/b.txt"}
    assert set(expand(config, {".": "assets/d*/*.json"})) == {"deep/c.json"}


def test_file_keeps_the_name_it_is_given(config: Path) -> None:
    assert expand(config, {"x/y.txt": "one.txt"}) == {"x/y.txt": str(config.parent / "one.txt")}


def test_two_entries_for_one_member_are_refused(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"would both be 'words/a\.txt'"):
        expand(config, {"words": "assets", "words/a.txt": "one.txt"})


@pytest.mark.parametrize("source", ["assets/*.csv", "nothing/*"])
def test_glob_that_finds_nothing_is_refused(config: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="holds no file"):
        expand(config, {"words": source})


@pytest.mark.parametrize("source", ["/etc/hostname", "C:/model.onnx", "~/model.onnx"])
def test_absolute_path_is_refused(config: Path, source: str) -> None:
    with pytest.raises(ConfigError, match=rf"a\.yaml: golden: {source} is an absolute path"):
        located(config, "golden", source)


@pytest.mark.parametrize("files", [{"x.txt": "link.txt"}, {"words": "assets"}, {"w": "linked"}])
def test_link_is_refused(config: Path, files: dict[str, str]) -> None:
    (config.parent / "link.txt").symlink_to("one.txt")
    (config.parent / "assets" / "link.txt").symlink_to("../one.txt")
    (config.parent / "linked").symlink_to("assets")
    with pytest.raises(ConfigError, match="is a link; name the file"):
        expand(config, files)
