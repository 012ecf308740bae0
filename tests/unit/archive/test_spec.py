"""Archive YAML files: what they name is found; typos, links, changed artifacts are refused."""

from pathlib import Path

import pytest

from harness import factories
from marloft.archive.spec import expand, located, read_artifact, read_spec
from marloft.errors import ArchiveError, ConfigError

CONFIGS = factories.REPOSITORY / "archive_configs"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return factories.write_project(tmp_path) / "archive_configs" / "ranker_v1.yaml"


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_paths_are_relative_to_the_yaml_file(config: Path) -> None:
    spec = read_spec(config)
    assert spec.handler == str(config.parents[1] / "handlers" / "ranker.py")
    assert spec.files == {"tables.npz": str(config.parents[1] / "build" / "export" / "tables.npz")}


def test_unknown_key_names_the_nearest(config: Path) -> None:
    _edit(config, "golden_tolerance:", "golden_tolerence:")
    with pytest.raises(ConfigError, match="Did you mean 'golden_tolerance'"):
        read_spec(config)


def test_unknown_setting_names_the_nearest(config: Path) -> None:
    _edit(config, "batch_size:", "batchsize:")
    with pytest.raises(ConfigError, match="Did you mean 'batch_size'"):
        read_spec(config)


def test_delay_of_zero_is_refused(config: Path) -> None:
    _edit(config, "max_batch_delay_ms: 1", "max_batch_delay_ms: 0")
    with pytest.raises(ConfigError, match="max_batch_delay_ms"):
        read_spec(config)


def test_missing_file_is_named_with_its_key(config: Path) -> None:
    (config.parents[1] / "build" / "export" / "tables.npz").unlink()
    with pytest.raises(ConfigError, match=r"files\.tables\.npz: .*tables\.npz is no file"):
        read_spec(config)


@pytest.mark.parametrize("per", ["row", "rows"])
def test_what_a_response_cannot_mean_is_told_with_its_typos(config: Path, per: str) -> None:
    declared = f"response: {{type: classification, labels: [a, b], top: 5, per: {per}}}"
    config.write_text(
        f"{config.read_text()}\n{declared}\n".replace("response: {type: ranking}", "")
    )
    with pytest.raises(ConfigError) as caught:
        read_spec(config)
    assert "response.top: 5 is more than the 2 labels" in str(caught.value)
    assert ("Did you mean 'row'?" in str(caught.value)) == (per == "rows")


def test_name_of_a_workflows_node_is_refused(config: Path) -> None:
    config.write_text(config.read_text().replace("name: ranker", "name: feed__ranker"))
    with pytest.raises(ConfigError, match="name is 'feed__ranker', which is how TorchServe calls"):
        read_spec(config)


def test_artifact_without_runtime_is_refused(config: Path) -> None:
    _edit(config, "runtime: onnx\n", "")
    with pytest.raises(ConfigError, match="artifact and runtime go together"):
        read_spec(config)


@pytest.mark.parametrize("name", ["feed_ab_assign", "feed_ab_select"])
def test_workflow_nodes_need_neither_artifact_nor_schema(tmp_path: Path, name: str) -> None:
    spec = read_spec(factories.write_project(tmp_path) / "archive_configs" / f"{name}.yaml")
    assert (spec.name, spec.artifact, spec.schema) == (name, None, None)


def test_missing_experiment_is_named_with_its_key(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    (project / "workflows" / "feed_ab" / "experiment.yaml").unlink()
    with pytest.raises(ConfigError, match=r"allocation\.experiment: .* is no file"):
        read_spec(project / "archive_configs" / "feed_ab_assign.yaml")


@pytest.mark.parametrize("name", sorted(p.name for p in CONFIGS.glob("*.yaml")))
def test_shipped_configs_are_valid(tmp_path: Path, name: str) -> None:
    project = factories.write_project(tmp_path)
    (project / "build" / "export" / "model.torchscript").touch()
    assert read_spec(project / "archive_configs" / name).handler


@pytest.mark.parametrize("kept", ["artifact: a.onnx\nruntime: onnx\n", "golden: golden.jsonl\n"])
def test_model_or_golden_answers_without_a_schema_are_refused(tmp_path: Path, kept: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"name: a\nversion: '1.0'\nhandler: a.py\n{kept}")
    with pytest.raises(ConfigError, match="schema is missing"):
        read_spec(path)


def test_unchanged_artifact_is_accepted(tmp_path: Path) -> None:
    artifact = factories.write_export(tmp_path) / "model.onnx"
    assert read_artifact(artifact, "onnx").file == "model.onnx"


def test_changed_artifact_is_refused(tmp_path: Path) -> None:
    artifact = factories.write_export(tmp_path) / "model.onnx"
    artifact.write_bytes(artifact.read_bytes() + b"\0")
    with pytest.raises(ArchiveError, match="changed after its export"):
        read_artifact(artifact, "onnx")


def test_artifact_of_another_runtime_is_refused(tmp_path: Path) -> None:
    artifact = factories.write_export(tmp_path) / "model.onnx"
    with pytest.raises(ArchiveError, match="exported for 'onnx', not 'torchscript'"):
        read_artifact(artifact, "torchscript")


def test_artifact_without_sidecar_is_refused(tmp_path: Path) -> None:
    artifact = factories.write_export(tmp_path) / "model.onnx"
    (tmp_path / "model.onnx.json").unlink()
    with pytest.raises(ConfigError, match=r"model\.onnx\.json does not exist"):
        read_artifact(artifact, "onnx")


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    for name in ("assets/a.txt", "assets/deep/b.txt", "assets/deep/c.json", "one.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "assets" / "__pycache__").mkdir()
    (tmp_path / "assets" / "__pycache__" / "x.pyc").touch()
    return tmp_path / "a.yaml"


def test_folder_is_kept_with_its_folders(assets: Path) -> None:
    found = expand(assets, {"words": "assets"})
    folder = assets.parent / "assets"
    assert found == {
        "words/a.txt": str(folder / "a.txt"),
        "words/deep/b.txt": str(folder / "deep" / "b.txt"),
        "words/deep/c.json": str(folder / "deep" / "c.json"),
    }


def test_glob_is_kept_from_its_first_wildcard_on(assets: Path) -> None:
    assert set(expand(assets, {"words": "assets/**/*.txt"})) == {"words/a.txt", "words/deep/b.txt"}
    assert set(expand(assets, {".": "assets/d*/*.json"})) == {"deep/c.json"}


def test_file_keeps_the_name_it_is_given(assets: Path) -> None:
    assert expand(assets, {"x/y.txt": "one.txt"}) == {"x/y.txt": str(assets.parent / "one.txt")}


def test_two_entries_for_one_member_are_refused(assets: Path) -> None:
    with pytest.raises(ConfigError, match=r"would both be 'words/a\.txt'"):
        expand(assets, {"words": "assets", "words/a.txt": "one.txt"})


@pytest.mark.parametrize("source", ["assets/*.csv", "nothing/*"])
def test_glob_that_finds_nothing_is_refused(assets: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="holds no file"):
        expand(assets, {"words": source})


@pytest.mark.parametrize("source", ["/etc/hostname", "C:/model.onnx", "~/model.onnx"])
def test_absolute_path_is_refused(assets: Path, source: str) -> None:
    with pytest.raises(ConfigError, match=rf"a\.yaml: golden: {source} is an absolute path"):
        located(assets, "golden", source)


@pytest.mark.parametrize("files", [{"x.txt": "link.txt"}, {"words": "assets"}, {"w": "linked"}])
def test_link_is_refused(assets: Path, files: dict[str, str]) -> None:
    (assets.parent / "link.txt").symlink_to("one.txt")
    (assets.parent / "assets" / "link.txt").symlink_to("../one.txt")
    (assets.parent / "linked").symlink_to("assets")
    with pytest.raises(ConfigError, match="is a link; name the file"):
        expand(assets, files)
