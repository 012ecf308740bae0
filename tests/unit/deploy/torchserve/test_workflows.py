"""Workflow archives: reproducible bytes, and specifications that would lose answers are refused."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.factories import REPOSITORY
from marloft.deploy.torchserve.workflows import (
    WorkflowApi,
    is_workflow,
    pack_workflow,
    read_workflow,
)
from marloft.errors import ConfigError, ServingError
from tests.unit.deploy.local_server import LocalServer, as_json

SHIPPED = REPOSITORY / "workflows" / "feed_ab" / "workflow.yaml"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    folder = tmp_path / "feed_ab"
    folder.mkdir()
    return Path(shutil.copy(SHIPPED, folder))


def _change(spec: Path, **models: Any) -> None:
    content = msgspec.yaml.decode(spec.read_bytes())
    content["models"] |= {name.replace("_", "-"): value for name, value in models.items()}
    spec.write_bytes(msgspec.yaml.encode(content))


def _edges(spec: Path, dag: dict[str, list[str]]) -> None:
    content = msgspec.yaml.decode(spec.read_bytes())
    spec.write_bytes(msgspec.yaml.encode(content | {"dag": dag}))


def test_same_specification_gives_the_same_bytes(spec: Path, tmp_path: Path) -> None:
    first = pack_workflow(spec, tmp_path / "one")
    second = pack_workflow(SHIPPED, tmp_path / "two")
    assert first == second
    assert first.file == "feed_ab.war"
    one, two = ((tmp_path / store / "feed_ab.war").read_bytes() for store in ("one", "two"))
    assert one == two
    _change(spec, timeout_ms=400)
    assert pack_workflow(spec, tmp_path / "one").sha256 != first.sha256
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["feed_ab.war"]


def test_archive_holds_what_torchserve_reads(spec: Path, tmp_path: Path) -> None:
    pack_workflow(spec, tmp_path)
    with zipfile.ZipFile(tmp_path / "feed_ab.war") as archive:
        assert archive.namelist() == ["WAR-INF/MANIFEST.json", "workflow.yaml"]
        assert archive.read("workflow.yaml") == spec.read_bytes()
        manifest = json.loads(archive.read("WAR-INF/MANIFEST.json"))
    assert manifest["workflow"]["workflowName"] == "feed_ab"
    assert manifest["workflow"]["specFile"] == "workflow.yaml"
    assert manifest["createdOn"] == "01/01/1980 00:00:00"
    assert manifest["archiverVersion"]


def test_workflow_is_told_from_an_archives_config() -> None:
    assert is_workflow(SHIPPED)
    assert not is_workflow(REPOSITORY / "archive_configs" / "feed_ab_assign.yaml")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("batch_size", 1),
        ("max_batch_delay", 0),
        ("retry_attempts", 0),
        ("control", {"url": "ranker-1.0.mar", "batch-size": 1}),
    ],
)
def test_setting_that_loses_answers_is_refused(spec: Path, setting: str, value: Any) -> None:
    read_workflow(spec)
    _change(spec, **{setting: value})
    with pytest.raises(ConfigError, match=r"of node '\w+' is \d, must be .* to \d+"):
        read_workflow(spec)


def test_setting_left_to_torchserve_is_refused(spec: Path) -> None:
    spec.write_text(spec.read_text().replace("  max-batch-delay: 1\n", ""))
    with pytest.raises(ConfigError, match="max-batch-delay of node 'assign' is None"):
        read_workflow(spec)


@pytest.mark.parametrize(
    ("dag", "words"),
    [
        ({"assign": ["contrl"]}, "'contrl', which is no node"),
        ({"assign": ["select"], "control": ["select"]}, "2 first nodes .assign, control."),
        ({"assign": ["control"], "control": ["assign"]}, "0 first nodes .a cycle."),
    ],
)
def test_graph_torchserve_could_not_run_is_refused(
    spec: Path, dag: dict[str, list[str]], words: str
) -> None:
    _edges(spec, dag)
    with pytest.raises(ConfigError, match=words):
        read_workflow(spec)


@pytest.mark.parametrize("url", ["http://somewhere/ranker.mar", "../ranker-1.0.mar", "function.py"])
def test_node_that_is_no_archive_of_the_store_is_refused(spec: Path, url: str) -> None:
    _change(spec, control={"url": url})
    with pytest.raises(ConfigError, match="must be text that matches"):
        read_workflow(spec)


def test_torchserve_that_is_not_there_is_named_with_the_call() -> None:
    api = WorkflowApi(1)
    with pytest.raises(ServingError, match="does not answer GET /workflows"):
        api.registered()
    api.close()


def test_workflows_are_listed_registered_and_removed_by_name(server: LocalServer) -> None:
    listed = [{"workflowName": name, "workflowUrl": f"{name}.war"} for name in ("b", "a")]
    server.answer = lambda _: as_json({"workflows": listed})
    api = WorkflowApi(server.port)
    assert api.registered() == ["a", "b"]
    api.register("feed_ab.war")
    api.unregister("feed_ab")
    api.close()
    assert [(asked.method, asked.path, asked.query) for asked in server.asked] == [
        ("GET", "/workflows", {}),
        ("POST", "/workflows", {"url": "feed_ab.war"}),
        ("DELETE", "/workflows/feed_ab", {}),
    ]
