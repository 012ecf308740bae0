"""A stock archive becomes a folder that `pack` takes; nothing of it is run."""

import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness import factories
from marloft.archive.pack import write_archive
from marloft.archive.project.adopt import adopt
from marloft.archive.spec import ArchiveSpec, read_spec
from marloft.archive.verify import verify
from marloft.errors import ConfigError, MarloftError
from marloft.files import read_yaml, sha256_file

STOCK_HANDLER = """
from ts.torch_handler.base_handler import BaseHandler

open({marker!r}, "w").close()

class Old(BaseHandler):
    def preprocess(self, data):
        return data
"""
MANIFEST = {"model": {"modelName": "old", "modelVersion": "1.0", "handler": "old.py"}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return factories.write_project(tmp_path / "project")


def _stock(project: Path, *more: str) -> Path:
    """Build an archive with torch-model-archiver from the tiny ranker's parts."""
    command = [
        *(
            str(Path(sys.executable).with_name("torch-model-archiver")),
            "--model-name",
            "Old-Ranker",
        ),
        *("--version", "2.1", "--serialized-file", "build/export/model.onnx"),
        *("--export-path", ".", *more),
    ]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    return project / "Old-Ranker.mar"


def _written(path: Path, members: dict[str, Any]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)
        for name, content in members.items():
            data = content if isinstance(content, bytes | str) else json.dumps(content)
            archive.writestr(name, data)
    return path


@pytest.mark.slow
def test_archive_of_our_handler_is_taken_as_it_is(project: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    own = tmp_path / write_archive(project / "archive_configs" / "ranker_v1.yaml", tmp_path).file
    with zipfile.ZipFile(own) as archive:
        archive.extract("schema.json", unpacked)
    extra = f"build/export/tables.npz,{unpacked}/schema.json,build/export/golden.jsonl"
    stock = _stock(project, "--handler", "handlers/ranker.py", "--extra-files", extra)
    adopted = adopt(stock, tmp_path / "adopted")
    assert adopted.missing == []
    sidecar = write_archive(Path(adopted.config), tmp_path / "store")
    assert (sidecar.name, sidecar.version) == ("old_ranker", "2.1")
    assert verify(tmp_path / "store" / sidecar.file).ok
    spec = read_spec(Path(adopted.config))
    assert spec.schema == read_yaml(project / "archive_configs/ranker_v1.yaml", ArchiveSpec).schema
    artifact = json.loads((tmp_path / "adopted" / "artifact" / "model.onnx.json").read_text())
    assert artifact["parents"] == {"Old-Ranker.mar": sha256_file(stock)}
    assert artifact["rows_compared"] == 0


@pytest.mark.slow
def test_handler_of_torchserves_own_kind_is_to_be_moved(project: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (project / "old.py").write_text(STOCK_HANDLER.format(marker=str(marker)))
    (project / "settings.yaml").write_text("minWorkers: 2\nbatchSize: 4\nmaxBatchDelay: 5\n")
    stock = _stock(project, "--handler", "old.py", "--config-file", "settings.yaml")
    adopted = adopt(stock, tmp_path / "adopted")
    assert [line.split(" ")[0] for line in adopted.missing] == [
        *("handlers/old_ranker.py", "schema", "golden")
    ]
    assert (tmp_path / "adopted" / "original" / "old.py").is_file()
    assert not marker.exists()
    spec = read_yaml(Path(adopted.config), ArchiveSpec)
    assert (spec.settings.workers, spec.settings.batch_size) == (2, 4)
    with pytest.raises(ConfigError, match="schema is missing"):
        write_archive(Path(adopted.config), tmp_path / "store")


def test_schema_and_golden_answers_may_be_given(project: Path, tmp_path: Path) -> None:
    handler = (project / "handlers" / "outcomes.py").read_bytes()
    artifact = (project / "build" / "export" / "model.onnx").read_bytes()
    manifest = {"model": {**MANIFEST["model"], "serializedFile": "model.onnx"}}
    stock = _written(
        tmp_path / "old.mar",
        {"MAR-INF/MANIFEST.json": manifest, "old.py": handler, "model.onnx": artifact},
    )
    (tmp_path / "rows.yaml").write_text("max_rows: 60\nrow: {item_id: {type: integer}}\n")
    golden = project / "build" / "export" / "golden.jsonl"
    adopted = adopt(stock, tmp_path / "adopted", schema=tmp_path / "rows.yaml", golden=golden)
    assert adopted.missing == []
    spec = read_spec(Path(adopted.config))
    assert spec.golden is not None
    assert Path(spec.golden).read_bytes() == golden.read_bytes()


HANDLER = "class Old: pass\n"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../up.py": "x"}, r"member '\.\./up\.py': it contains '\.\.'"),
        ({"/etc/x": "x"}, "it is absolute"),
        ({"a": "1", "A": "2"}, "two members share the path 'a'"),
        ({"archive.json": "{}"}, "is an archive of marloft's already"),
        ({"MAR-INF/MANIFEST.json": "{}"}, "MANIFEST.json: Object missing required field `model`"),
        ({"MAR-INF/MANIFEST.json": "{"}, r"MANIFEST\.json: "),
        (
            {
                "MAR-INF/MANIFEST.json": {
                    "model": {**MANIFEST["model"], "serializedFile": "model.pt"}
                },
                "model.pt": b"\x80\x02}q\x00.",
            },
            r"model\.pt is neither ONNX nor TorchScript",
        ),
        (
            {
                "MAR-INF/MANIFEST.json": {"model": {**MANIFEST["model"], "configFile": "c.yaml"}},
                "c.yaml": "batchSize: many\n",
            },
            r"c\.yaml: Expected `int`, got `str` - at `\$\.batchSize`",
        ),
        (
            {"MAR-INF/MANIFEST.json": {"model": {**MANIFEST["model"], "serializedFile": "gone"}}},
            "names 'gone', which it does not hold",
        ),
    ],
)
def test_questionable_archive_is_refused_and_nothing_written(
    tmp_path: Path, members: dict[str, Any], message: str
) -> None:
    stock = {"MAR-INF/MANIFEST.json": MANIFEST, "old.py": HANDLER}
    path = _written(tmp_path / "old.mar", {**stock, **members})
    with pytest.raises(MarloftError, match=message):
        adopt(path, tmp_path / "deep" / "adopted")
    assert not (tmp_path / "deep").exists()


def test_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty; name a new folder"):
        adopt(tmp_path / "old.mar", tmp_path.parent)
