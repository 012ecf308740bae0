"""Packing: reproducible bytes, and nothing questionable gets in."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import factories
from marloft.archive.manifest import read_manifest
from marloft.archive.pack import write_archive
from marloft.contract.allocation import AllocationFile
from marloft.contract.manifest import ArchiveSidecar, Manifest, Measured
from marloft.errors import ArchiveError, ConfigError, MarloftError
from marloft.files import parse_json, read_json, sha256_file, sidecar_path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return factories.write_project(tmp_path / "project")


def _config(project: Path) -> Path:
    return project / "archive_configs" / "ranker_v1.yaml"


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_same_inputs_give_the_same_bytes_in_another_folder_on_another_day(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_archive(_config(project), tmp_path / "one")
    other = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(project, other)
    for file in other.rglob("*"):
        os.utime(file, (0, 0))
        file.chmod(0o700)
    monkeypatch.chdir(other)
    second = write_archive(Path("archive_configs/ranker_v1.yaml"), Path("two"))
    assert first.sha256 == second.sha256
    one, two = tmp_path / "one" / first.file, other / "two" / second.file
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("archive_configs/ranker_v1.yaml", "name: ranker", "name: ranker_b"),
        ("archive_configs/ranker_v1.yaml", 'version: "1.0"', 'version: "1.5"'),
        ("archive_configs/ranker_v1.yaml", "golden_tolerance: 0.0001", "golden_tolerance: 0.0002"),
        ("archive_configs/ranker_v1.yaml", "max_rows: 500", "max_rows: 400"),
        ("archive_configs/ranker_v1.yaml", "minimum: 0", "minimum: 1"),
        ("archive_configs/ranker_v1.yaml", "workers: 1", "workers: 2"),
        ("archive_configs/ranker_v1.yaml", "batch_size: 16", "batch_size: 8"),
        ("archive_configs/ranker_v1.yaml", "delay_ms: 1", "delay_ms: 2"),
        ("archive_configs/ranker_v1.yaml", "timeout_s: 3", "timeout_s: 4"),
        ("archive_configs/ranker_v1.yaml", "[application/json]", "[Application/JSON]"),
        ("archive_configs/ranker_v1.yaml", "at_serving: []", "at_serving: [gender]"),
        ("archive_configs/ranker_v1.yaml", "card: ../build/card/model_card.md\n", ""),
        ("archive_configs/ranker_v1.yaml", "audit: ../build/fairness/fairness.json\n", ""),
        ("archive_configs/ranker_v1.yaml", "  tables.npz:", "  other.npz:"),
        ("archive_configs/ranker_v1.yaml", "golden: ../build/export/golden.jsonl\n", ""),
        ("handlers/ranker.py", "best first.", "the best first."),
        ("build/export/golden.jsonl", '"user_id":9', '"user_id":10'),
        ("build/export/model.onnx.json", "0" * 64, "1" * 64),
        ("build/card/model_card.md", "---\n", "---\nlicense: mit\n"),
    ],
)
def test_any_other_input_gives_other_bytes(
    project: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    first = write_archive(_config(project), tmp_path / "one")
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new, 1))
    assert write_archive(_config(project), tmp_path / "two").sha256 != first.sha256


def test_other_weights_and_other_requirements_give_other_bytes(
    project: Path, tmp_path: Path
) -> None:
    packed = [write_archive(_config(project), tmp_path / "one").sha256]
    _edit(_config(project), "card: ../build/card/model_card.md\n", "")
    _edit(_config(project), "audit: ../build/fairness/fairness.json\n", "")
    packed.append(write_archive(_config(project), tmp_path / "two").sha256)
    factories.write_export(project / "build" / "export", seed=1)
    packed.append(write_archive(_config(project), tmp_path / "three").sha256)
    _require(project, "numpy>=2\n")
    packed.append(write_archive(_config(project), tmp_path / "four").sha256)
    assert len(set(packed)) == 4


@settings(max_examples=40, deadline=None)
@given(contents=st.lists(st.binary(max_size=64), min_size=2, max_size=2))
def test_bytes_are_the_same_exactly_when_the_files_are(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    packed = []
    for content in contents:
        folder = tmp_path_factory.mktemp("either")
        (folder / "outcomes.py").write_bytes(
            (factories.REPOSITORY / "handlers" / "outcomes.py").read_bytes()
        )
        # No content of it is code by its first bytes.
        (folder / "data").write_bytes(b"data" + content)
        (folder / "a.yaml").write_text(
            "{name: a, version: '1.0', handler: outcomes.py, files: {data: data}}"
        )
        packed.append(write_archive(folder / "a.yaml", folder / "store").sha256)
    assert (packed[0] == packed[1]) == (contents[0] == contents[1])


def test_requirements_are_recorded(project: Path, tmp_path: Path) -> None:
    _require(project, "numpy>=2,<9\n")
    path = tmp_path / write_archive(_config(project), tmp_path).file
    assert read_manifest(path).requires == {"marloft": ">=0.1,<0.2", "numpy": "<9,>=2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numpy<1", r"requirements\.txt: needs numpy<1; .*pip install -r"),
        ("no-such-package==1.0", "no-such-package==1.0 is not installed"),
        ("marloft==0.1", "remove it"),
    ],
)
def test_requirement_that_is_not_met_is_refused(
    project: Path, tmp_path: Path, text: str, message: str
) -> None:
    _require(project, text)
    with pytest.raises(MarloftError, match=message):
        write_archive(_config(project), tmp_path / "store")


def test_accepted_type_that_the_schema_cannot_carry_is_refused(
    project: Path, tmp_path: Path
) -> None:
    _edit(_config(project), "[application/json]", "[application/json, image/png]")
    with pytest.raises(ConfigError, match=r"yaml: accepts .*image/png: .*needs exactly one"):
        write_archive(_config(project), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_folder_is_packed_with_its_folders(project: Path, tmp_path: Path) -> None:
    (project / "words" / "en").mkdir(parents=True)
    (project / "words" / "en" / "vocabulary.txt").write_text("hello\n")
    _edit(_config(project), "  tables.npz:", "  words: ../words\n  tables.npz:")
    sidecar = write_archive(_config(project), tmp_path)
    with zipfile.ZipFile(tmp_path / sidecar.file) as archive:
        assert archive.read("words/en/vocabulary.txt") == b"hello\n"


@pytest.mark.parametrize("name", [".env", "state.pkl"])
def test_secret_or_pickle_among_the_files_is_refused(
    project: Path, tmp_path: Path, name: str
) -> None:
    (project / "words").mkdir()
    (project / "words" / name).write_text("x")
    _edit(_config(project), "  tables.npz:", "  words: ../words\n  tables.npz:")
    with pytest.raises(ArchiveError, match=f"member 'words/{name}'"):
        write_archive(_config(project), tmp_path / "store")


def test_secret_in_the_handler_is_refused(project: Path, tmp_path: Path) -> None:
    handler = project / "handlers" / "ranker.py"
    handler.write_text(handler.read_text() + "\nKEY = 'AKIA" + "IOSFODNN7EXAMPLE'\n")
    with pytest.raises(ArchiveError, match=r"member 'ranker\.py' holds an AWS access key id"):
        write_archive(_config(project), tmp_path / "store")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_artifact(project: Path, tmp_path: Path) -> None:
    artifact = project / "build" / "export" / "model.onnx"
    peaks = [_peak_mib(project, tmp_path / "small")]
    _edit(_config(project), "card: ../build/card/model_card.md\n", "")
    _edit(_config(project), "audit: ../build/fairness/fairness.json\n", "")
    with artifact.open("r+b") as stream:
        stream.truncate(256 << 20)
    sidecar = json.loads(sidecar_path(artifact).read_text())
    sidecar["sha256"] = sha256_file(artifact)
    sidecar_path(artifact).write_text(json.dumps(sidecar))
    peaks.append(_peak_mib(project, tmp_path / "large"))
    assert peaks[1] < 300
    assert peaks[1] - peaks[0] < 20


def _peak_mib(project: Path, store: Path) -> float:
    """Pack in a process of its own; return its largest resident size.

    Not by getrusage(2): its figure begins with the size of the process that started this one.
    """
    code = (
        "import sys; from pathlib import Path; from marloft.archive.pack import write_archive; "
        "write_archive(Path(sys.argv[1]), Path(sys.argv[2])); "
        "print(Path('/proc/self/status').read_text())"
    )
    command = [sys.executable, "-c", code, str(_config(project)), str(store)]
    status = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return float(line.split()[1]) / 1024


def _require(project: Path, text: str) -> None:
    (project / "requirements.txt").write_text(text)
    _edit(_config(project), "schema:", "requirements: ../requirements.txt\nschema:")


def test_archive_holds_what_the_design_says(project: Path, tmp_path: Path) -> None:
    sidecar = write_archive(_config(project), tmp_path)
    with zipfile.ZipFile(tmp_path / sidecar.file) as archive:
        names = archive.namelist()
        assert names == [*sorted(set(names) - {"archive.json"}), "archive.json"]
        assert set(names) == {
            "MAR-INF/MANIFEST.json",
            "archive.json",
            "fairness.json",
            "golden.jsonl",
            "model-config.yaml",
            "model.onnx",
            "model_card.md",
            "ranker.py",
            "schema.json",
            "tables.npz",
        }
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        config = archive.read("model-config.yaml").decode()
        stock = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        manifest = parse_json(archive.read("archive.json"), Manifest, "archive.json")
    assert config == "batchSize: 16\nmaxBatchDelay: 1\nresponseTimeout: 3\n"
    assert stock["model"] == {
        "modelName": "ranker",
        "modelVersion": "1.0",
        "handler": "ranker.py",
        "serializedFile": "model.onnx",
        "configFile": "model-config.yaml",
    }
    assert "createdOn" not in stock
    assert set(manifest.members) == set(names) - {"archive.json"}
    assert manifest.members["model.onnx"] == sha256_file(project / "build/export/model.onnx")
    assert manifest.parents == {"model.pt": "0" * 64}


def test_archive_names_no_place_of_its_build(project: Path, tmp_path: Path) -> None:
    sidecar = write_archive(_config(project), tmp_path)
    assert str(tmp_path).encode() not in (tmp_path / sidecar.file).read_bytes()


def test_sidecar_lies_beside_the_archive(project: Path, tmp_path: Path) -> None:
    sidecar = write_archive(_config(project), tmp_path)
    assert read_json(tmp_path / "ranker-1.0.mar.json", ArchiveSidecar) == sidecar
    assert sidecar.sha256 == sha256_file(tmp_path / "ranker-1.0.mar")


def test_packing_again_changes_nothing(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_archive(_config(project), store)
    before = {file.name: file.stat().st_mtime_ns for file in store.iterdir()}
    write_archive(_config(project), store)
    assert {file.name: file.stat().st_mtime_ns for file in store.iterdir()} == before
    assert set(before) == {"ranker-1.0.mar", "ranker-1.0.mar.json"}


def test_other_bytes_under_a_version_are_refused(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    held = write_archive(_config(project), store).sha256
    _edit(_config(project), "batch_size: 16", "batch_size: 8")
    with pytest.raises(ArchiveError, match="raise `version` in"):
        write_archive(_config(project), store)
    assert sha256_file(store / "ranker-1.0.mar") == held
    assert len(list(store.iterdir())) == 2


def test_raised_version_is_packed_beside_the_old_one(project: Path, tmp_path: Path) -> None:
    write_archive(_config(project), tmp_path)
    _edit(_config(project), 'version: "1.0"', 'version: "1.2"')
    assert write_archive(_config(project), tmp_path).file == "ranker-1.2.mar"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("MODEL.onnx", "share the path 'model.onnx'"),
        ("archive.json", "share the path 'archive.json'"),
        ("ranker.py/x", "share the path 'ranker.py/x'"),
        ("../tables.npz", "contains '..'"),
        ("/tables.npz", "absolute"),
        ("json.py", "hide the module 'json'"),
    ],
)
def test_questionable_member_is_refused(
    project: Path, tmp_path: Path, member: str, message: str
) -> None:
    _edit(_config(project), "  tables.npz:", f"  {member}: ../handlers/ranker.py\n  tables.npz:")
    with pytest.raises(ArchiveError, match=message):
        write_archive(_config(project), tmp_path / "store")


def test_handler_named_like_a_standard_module_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "handlers" / "ranker.py").rename(project / "handlers" / "select.py")
    _edit(_config(project), "handlers/ranker.py", "handlers/select.py")
    with pytest.raises(ArchiveError, match="hide the module 'select'"):
        write_archive(_config(project), tmp_path / "store")


@pytest.mark.parametrize(
    ("more", "message"),
    [("\nclass Second:\n    pass\n", "defines 2 classes"), ("\ndef broken(:\n", "invalid syntax")],
)
def test_handler_torchserve_could_not_load_is_refused(
    project: Path, tmp_path: Path, more: str, message: str
) -> None:
    handler = project / "handlers" / "ranker.py"
    handler.write_text(handler.read_text() + more)
    with pytest.raises(ArchiveError, match=message):
        write_archive(_config(project), tmp_path / "store")


def test_changed_artifact_is_refused(project: Path, tmp_path: Path) -> None:
    with (project / "build" / "export" / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ArchiveError, match="export it again"):
        write_archive(_config(project), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_golden_file_the_schema_refuses_is_not_packed(project: Path, tmp_path: Path) -> None:
    _edit(_config(project), "minimum: 0", "minimum: 40")
    with pytest.raises(ConfigError, match=r"golden\.jsonl:2: the schema refuses it"):
        write_archive(_config(project), tmp_path / "store")


def test_failed_packing_leaves_nothing_behind(project: Path, tmp_path: Path) -> None:
    def refuse(built: Path) -> Measured:
        assert built.is_file()
        raise ArchiveError("planted")

    with pytest.raises(ArchiveError, match="planted"):
        write_archive(_config(project), tmp_path / "store", trial=refuse)
    assert list((tmp_path / "store").iterdir()) == []


def test_examined_bytes_are_not_examined_again(project: Path, tmp_path: Path) -> None:
    calls: list[Path] = []

    def accept(built: Path) -> Measured:
        calls.append(built)
        return Measured(load_s=1.0, peak_memory_mb=2.0, first_request_ms=3.0, answers=4)

    assert write_archive(_config(project), tmp_path).measured is None
    examined = write_archive(_config(project), tmp_path, trial=accept)
    assert examined.measured == accept(tmp_path)
    assert write_archive(_config(project), tmp_path, trial=accept) == examined
    assert write_archive(_config(project), tmp_path) == examined
    assert len(calls) == 2


def test_assign_nodes_archive_holds_the_experiments_split(project: Path, tmp_path: Path) -> None:
    sidecar = write_archive(project / "archive_configs" / "feed_ab_assign.yaml", tmp_path)
    with zipfile.ZipFile(tmp_path / sidecar.file) as archive:
        names = archive.namelist()
        split = parse_json(archive.read("allocation.json"), AllocationFile, "allocation.json")
    assert not {"schema.json", "golden.jsonl"} & set(names)
    assert [(arm.name, arm.version) for arm in split.allocation.arms] == [
        ("control", "1.0"),
        ("treatment", "2.0"),
    ]
    experiment = project / "workflows" / "feed_ab" / "experiment.yaml"
    _edit(experiment, 'version: "1.0", weight: 50', 'version: "1.0", weight: 49')
    with pytest.raises(ArchiveError, match="raise `version` in"):
        write_archive(project / "archive_configs" / "feed_ab_assign.yaml", tmp_path)
