"""New projects: names that would not work are refused, and nothing is overwritten."""

import re
from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from marloft.archive.project.scaffold import KINDS, RUNTIMES, new_project
from marloft.archive.spec import parse_spec
from marloft.contract.response import type_of
from marloft.errors import ConfigError
from marloft.experiment.design import read_experiment


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_place_of_a_template_is_filled(tmp_path: Path, runtime: str, kind: str) -> None:
    files = new_project("my_model", tmp_path, runtime, kind)
    assert files == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for path in files:
        text = path.read_text()
        assert re.findall(r"@[a-zA-Z]+@", text) == []
        if path.suffix == ".py":
            compile(text, str(path), "exec")
    assert "class MyModelHandler(Handler)" in (tmp_path / "handlers" / "my_model.py").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_project_has_two_versions_of_the_kinds_type(tmp_path: Path, kind: str) -> None:
    new_project("my_model", tmp_path, kind=kind)
    for file, version in (("my_model", "1.0"), ("my_model_v2", "2.0")):
        spec = parse_spec(tmp_path / "archive_configs" / f"{file}.yaml")
        assert (spec.name, spec.version) == ("my_model", version)
        assert spec.response is not None
        assert type_of(spec.response) == KINDS[kind].response
    assert read_experiment(tmp_path / "experiment.yaml").name == "my_model_ab"


@pytest.mark.parametrize("kind", KINDS)
def test_code_of_a_project_is_short(tmp_path: Path, kind: str) -> None:
    new_project("my_model", tmp_path, kind=kind)
    handler = (tmp_path / "handlers" / "my_model.py").read_text()
    assert len(handler.splitlines()) <= 60


@pytest.mark.parametrize(
    "name",
    ["json", "torch", "train", "visitors", "outcomes", "Churn", "7up", "a-b", "", "class", "a__b"],
)
def test_name_that_would_not_work_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"is no model name|of a Python module|of Python's"):
        new_project(name, tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_unknown_kind_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'classification'"):
        new_project("churn", tmp_path, kind="classifier")


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
