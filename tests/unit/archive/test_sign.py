"""Keys, signatures and what breaks them; another tool of the format agrees."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from marloft.archive.sign import check_signature, new_keys, sign, signature_path
from marloft.errors import ArchiveError, ConfigError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "ranker-1.0.mar"
    path.write_bytes(b"the bytes of an archive")
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    new_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_private_key_is_its_owners_alone(keys: Path) -> None:
    assert stat.S_IMODE((keys / "marloft.key").stat().st_mode) == 0o600
    assert b"BEGIN PUBLIC KEY" in (keys / "marloft.pub").read_bytes()


@pytest.mark.parametrize("name", ["marloft.key", "marloft.pub"])
def test_keys_are_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(ConfigError, match="never overwritten"):
        new_keys(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_signature_holds_for_the_key_and_the_bytes(archive: Path, keys: Path) -> None:
    signed = sign(archive, keys / "marloft.key")
    assert Path(signed.signature) == signature_path(archive)
    assert check_signature(archive, keys / "marloft.pub").ok
    archive.write_bytes(b"the bytes of an archivf")
    assert not check_signature(archive, keys / "marloft.pub").ok


def test_signature_by_another_key_is_refused(archive: Path, keys: Path, tmp_path: Path) -> None:
    other = new_keys(tmp_path / "other")
    sign(archive, Path(other.private))
    check = check_signature(archive, keys / "marloft.pub")
    assert (check.code, check.ok, check.culprit) == ("MRL016", False, "ranker-1.0.mar.sig")
    assert check_signature(archive, Path(other.public)).ok


def test_upstreams_own_tool_agrees(archive: Path, keys: Path) -> None:
    sign(archive, keys / "marloft.key")
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(archive)]
    command += ["--signature", str(signature_path(archive))]
    command += ["--public_key", str(keys / "marloft.pub")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    archive.write_bytes(b"other")
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0


def test_signing_again_replaces_the_signature(archive: Path, keys: Path) -> None:
    sign(archive, keys / "marloft.key")
    archive.write_bytes(b"the next bytes")
    sign(archive, keys / "marloft.key")
    assert check_signature(archive, keys / "marloft.pub").ok
    assert {path.name for path in archive.parent.iterdir()} == {
        "keys",
        "ranker-1.0.mar",
        "ranker-1.0.mar.sig",
    }


def test_missing_archive_or_key_is_said(archive: Path, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is no file"):
        sign(tmp_path / "none.mar", keys / "marloft.key")
    with pytest.raises(ConfigError, match="is no file"):
        sign(archive, tmp_path / "none.key")
    with pytest.raises(ConfigError, match="is no file"):
        check_signature(archive, tmp_path / "none.pub")


def test_public_and_private_key_swapped_is_said(archive: Path, keys: Path) -> None:
    with pytest.raises(ConfigError, match="no private key"):
        sign(archive, keys / "marloft.pub")
    with pytest.raises(ConfigError, match="no public EC key"):
        check_signature(archive, keys / "marloft.key")
