"""`marloft keys new`, `marloft sign`, and the options of `marloft verify` about trust."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from marloft.archive.openapi import openapi_of
from marloft.archive.pack import write_archive
from marloft.archive.sandbox.confinement import Isolation
from marloft.cli import app
from marloft.cli.archive import describe_isolation
from marloft.files import to_json
from tests import factories


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    write_archive(project / "archive_configs" / "ranker_v1.yaml", project)
    return project


@pytest.fixture
def archive(store: Path, tmp_path: Path) -> Path:
    path = tmp_path / "ranker-1.0.mar"
    path.write_bytes((store / path.name).read_bytes())
    return path


def marloft(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout


def codes(output: str) -> list[str]:
    return [each["code"] for each in json.loads(output)["report"]["checks"] if not each["ok"]]


def test_signed_archive_verifies_by_its_key(archive: Path, tmp_path: Path) -> None:
    assert marloft("keys", "new", "--out", tmp_path / "keys")[0] == 0
    code, output = marloft("sign", archive, "--key", tmp_path / "keys" / "marloft.key", "--json")
    assert code == 0
    assert json.loads(output)["signature"] == f"{archive}.sig"
    public = tmp_path / "keys" / "marloft.pub"
    code, output = marloft("verify", archive, "--public-key", public, "--require-signature")
    assert code == 0
    assert f"signed by {public}" in " ".join(output.split()) or "signed by" in output


def test_unsigned_archive_is_refused_where_a_signature_is_required(archive: Path) -> None:
    assert marloft("verify", archive)[0] == 0
    code, output = marloft("verify", archive, "--require-signature", "--json")
    assert (code, codes(output)) == (2, ["MRL016"])


def test_replay_runs_nothing_without_signature_or_trust(archive: Path) -> None:
    code, output = marloft("verify", archive, "--replay", "--json")
    assert (code, codes(output)) == (2, ["MRL016"])
    assert json.loads(output)["report"]["isolation"] is None


def test_archive_is_named_by_its_version(store: Path, archive: Path, tmp_path: Path) -> None:
    marloft("keys", "new", "--out", tmp_path / "keys")
    in_store = ("ranker@1.0", "--store", tmp_path)
    assert marloft("sign", *in_store, "--key", tmp_path / "keys" / "marloft.key")[0] == 0
    assert Path(f"{archive}.sig").exists()
    assert marloft("verify", *in_store, "--public-key", tmp_path / "keys" / "marloft.pub")[0] == 0
    code, output = marloft("inspect", *in_store, "--json")
    assert (code, json.loads(output)["version"]) == (0, "1.0")
    assert marloft("verify", "ranker@2.0", "--store", store)[0] != 0


def test_inspect_prints_the_openapi_document(archive: Path) -> None:
    code, output = marloft("inspect", archive, "--openapi")
    assert (code, json.loads(output)) == (0, json.loads(to_json(openapi_of(archive))))
    assert "/models/ranker/predict" in json.loads(output)["paths"]
    assert marloft("inspect", archive, archive, "--openapi")[0] == 2


def test_damaged_archive_is_not_signed(archive: Path, tmp_path: Path) -> None:
    marloft("keys", "new", "--out", tmp_path / "keys")
    archive.write_bytes(archive.read_bytes()[:-1])
    assert marloft("sign", archive, "--key", tmp_path / "keys" / "marloft.key")[0] != 0
    assert not Path(f"{archive}.sig").exists()


def test_what_did_not_hold_is_said_aloud() -> None:
    bare = Isolation(
        environment=True,
        limits=True,
        user=False,
        network=False,
        mounts=False,
        processes=False,
        why="unshare: Operation not permitted",
    )
    assert "No sandbox" in describe_isolation(bare)
    assert "Operation not permitted" in describe_isolation(bare)
