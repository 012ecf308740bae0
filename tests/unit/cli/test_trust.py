"""`marloft keys new` and `marloft sign`, and `marloft verify` with their key."""

import json
from pathlib import Path

from tests.unit.cli.running import invoke


def test_signed_archive_verifies_by_its_key(archive: Path, tmp_path: Path) -> None:
    assert invoke("keys", "new", "--out", tmp_path / "keys")[0] == 0
    code, output = invoke("sign", archive, "--key", tmp_path / "keys" / "marloft.key", "--json")
    assert code == 0
    assert json.loads(output)["signature"] == f"{archive}.sig"
    public = tmp_path / "keys" / "marloft.pub"
    code, output = invoke("verify", archive, "--public-key", public, "--require-signature")
    assert code == 0
    assert f"signed by {public}" in " ".join(output.split()) or "signed by" in output


def test_archive_is_named_by_its_version(store: Path, archive: Path, tmp_path: Path) -> None:
    invoke("keys", "new", "--out", tmp_path / "keys")
    in_store = ("ranker@1.0", "--store", tmp_path)
    assert invoke("sign", *in_store, "--key", tmp_path / "keys" / "marloft.key")[0] == 0
    assert Path(f"{archive}.sig").exists()
    assert invoke("verify", *in_store, "--public-key", tmp_path / "keys" / "marloft.pub")[0] == 0
    code, output = invoke("inspect", *in_store, "--json")
    assert (code, json.loads(output)["version"]) == (0, "1.0")
    assert invoke("verify", "ranker@2.0", "--store", store)[0] != 0


def test_damaged_archive_is_not_signed(archive: Path, tmp_path: Path) -> None:
    invoke("keys", "new", "--out", tmp_path / "keys")
    archive.write_bytes(archive.read_bytes()[:-1])
    assert invoke("sign", archive, "--key", tmp_path / "keys" / "marloft.key")[0] != 0
    assert not Path(f"{archive}.sig").exists()
