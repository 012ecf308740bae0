"""New projects: names that would not work are refused, and nothing is overwritten."""

from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from marloft.archive.project.scaffold import RUNTIMES, new_project
from marloft.archive.spec import ArchiveSpec
from marloft.errors import ConfigError
from marloft.files import read_yaml


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_place_of_a_template_is_filled(tmp_path: Path, runtime: str) -> None:
    files = new_project("my_model", tmp_path, runtime)
    assert files == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for path in files:
        text = path.read_text()
        assert "@name@" not in text
        assert "@runtime@" not in text
        assert "@export@" not in text
        if path.suffix == ".py":
            compile(text, str(path), "exec")
    assert "class MyModelHandler(Handler)" in (tmp_path / "handlers" / "my_model.py").read_text()
    spec = read_yaml(tmp_path / "archive_configs" / "my_model.yaml", ArchiveSpec)
    assert (spec.name, spec.runtime) == ("my_model", runtime)


@pytest.mark.parametrize("name", ["json", "torch", "train", "Churn", "7up", "a-b", ""])
def test_name_that_would_not_work_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"is no model name|is the name of a Python module"):
        new_project(name, tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_unknown_runtime_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'torchscript'"):
        new_project("churn", tmp_path, "torch_script")


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("mine")
    with pytest.raises(ConfigError, match=r"train\.py exists"):
        new_project("churn", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_torchserves_settings_are_those_of_the_repository(tmp_path: Path) -> None:
    new_project("churn", tmp_path)
    written = (tmp_path / "config.properties").read_text().splitlines()
    own = (REPOSITORY / "config.properties").read_text().splitlines()
    assert [pair for pair in zip(written, own, strict=True) if pair[0] != pair[1]] == [
        ("load_models=churn-1.0.mar", "load_models=ranker-1.0.mar")
    ]
