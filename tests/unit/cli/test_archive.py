"""`marloft pack` and `marloft verify`: what is refused, and what a replay was kept from."""

import json
from pathlib import Path

from harness import factories
from marloft.archive.sandbox.confinement import Isolation
from marloft.cli.archive import describe_isolation
from tests.unit.cli.running import invoke


def test_pack_prints_each_archives_hash(tmp_path: Path) -> None:
    config = factories.write_project(tmp_path) / "archive_configs" / "ranker_v1.yaml"
    code, output = invoke("pack", "--no-check", config, "--out", tmp_path / "store", "--json")
    assert code == 0
    assert json.loads(output)["file"] == "ranker-1.0.mar"
    code, line = invoke("pack", "--no-check", config, "--out", tmp_path / "store")
    assert code == 0
    assert line.endswith(f"sha256 {json.loads(output)['sha256']}\n")


def codes(output: str) -> list[str]:
    return [each["code"] for each in json.loads(output)["report"]["checks"] if not each["ok"]]


def test_unsigned_archive_is_refused_where_a_signature_is_required(archive: Path) -> None:
    assert invoke("verify", archive)[0] == 0
    code, output = invoke("verify", archive, "--require-signature", "--json")
    assert (code, codes(output)) == (2, ["MRL016"])


def test_replay_runs_nothing_without_signature_or_trust(archive: Path) -> None:
    code, output = invoke("verify", archive, "--replay", "--json")
    assert (code, codes(output)) == (2, ["MRL016"])
    assert json.loads(output)["report"]["isolation"] is None


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
