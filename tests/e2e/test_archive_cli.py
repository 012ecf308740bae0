"""`marloft pack` and `marloft verify` as a person and a program meet them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness import factories

pytestmark = pytest.mark.e2e

MARLOFT = Path(sys.executable).with_name("marloft")
CONFIG = "archive_configs/ranker_v1.yaml"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factories.write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def packed(project: Path) -> Path:
    done = _run(project, "pack", CONFIG)
    assert done.returncode == 0, done.stderr
    return project / "model_store" / "ranker-1.0.mar"


def _run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(MARLOFT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_pack_and_verify_agree_on_the_hash(project: Path, packed: Path) -> None:
    sidecar = json.loads(_run(project, "pack", CONFIG, "--json").stdout)
    verified = json.loads(_run(project, "verify", str(packed), "--json").stdout)
    assert verified["ok"] is True
    assert verified["report"]["sha256"] == sidecar["sha256"]


def test_verify_with_replay_shows_a_table_and_the_verdict(project: Path, packed: Path) -> None:
    done = _run(project, "verify", str(packed), "--replay", "--trust")
    assert done.returncode == 0, done.stdout
    assert "6 golden answers repeated in one batch" in done.stdout
    assert "ranker 1.0" in done.stdout
    assert "verified" in done.stdout
    assert "\x1b[" not in done.stdout


def test_out_names_another_store(project: Path, tmp_path: Path) -> None:
    assert _run(project, "pack", CONFIG, "--out", str(tmp_path / "store")).returncode == 0
    assert (tmp_path / "store" / "ranker-1.0.mar.json").exists()


def test_damaged_archive_exits_with_2_and_names_the_check(packed: Path, tmp_path: Path) -> None:
    damaged = bytearray(packed.read_bytes())
    damaged[damaged.index(b"class RankerHandler")] ^= 1
    (tmp_path / "damaged.mar").write_bytes(damaged)
    done = _run(tmp_path, "verify", "damaged.mar")
    assert done.returncode == 2
    assert "MRL006" in done.stdout
    assert "FAILED" in done.stdout
    assert "refused" in done.stdout


def test_refused_packing_is_one_line_on_stderr(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    with (project / "build" / "export" / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    done = _run(project, "pack", CONFIG)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "export it again" in done.stderr


def test_typo_in_the_config_offers_the_nearest_key(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    config = project / CONFIG
    config.write_text(config.read_text().replace("golden:", "goldn:"))
    done = _run(project, "pack", CONFIG)
    assert done.returncode == 2
    assert "Did you mean 'golden'" in done.stderr


def test_failing_handler_shows_its_traceback_and_is_not_packed(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    handler = project / "handlers" / "ranker.py"
    text = handler.read_text().replace("super().load(archive)", "raise KeyError('planted')")
    handler.write_text(text)
    done = _run(project, "pack", CONFIG)
    assert done.returncode == 2
    *traceback, last = done.stderr.strip().splitlines()
    assert "Traceback (most recent call last):" in traceback
    assert last.startswith("marloft: ranker.py:15: it ended with status 1 while loading")
    assert not list((project / "model_store").glob("*.mar"))
    assert _run(project, "pack", "--no-check", CONFIG).returncode == 0
    sidecar = json.loads((project / "model_store" / "ranker-1.0.mar.json").read_text())
    assert sidecar["measured"] is None


def test_inspect_shows_an_archive_and_a_difference(project: Path, packed: Path) -> None:
    shown = json.loads(_run(project, "inspect", str(packed), "--json").stdout)
    assert (shown["name"], shown["golden_answers"]) == ("ranker", 6)
    table = _run(project, "inspect", str(packed)).stdout
    assert shown["sha256"] in table
    assert _run(project, "inspect", str(packed), str(packed)).stdout.split()[-1] == "none"


@pytest.mark.parametrize("verb", ["adopt", "inspect", "pack", "verify"])
def test_help_has_an_example_and_where_to_read_on(project: Path, verb: str) -> None:
    text = _run(project, verb, "--help").stdout
    assert f"Example: marloft {verb}" in text
    assert "docs/archive.md" in text
