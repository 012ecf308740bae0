"""Small disks that are filled up, and a folder that is read-only: with root's mounts."""

import os
from pathlib import Path

import pytest

from harness.faults.disks import disk_faults, small_disks
from tests.required_programs import missing


def test_disks_fill_up_and_are_empty_again(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("mounting needs root")
    var, temporary = tmp_path / "var", tmp_path / "t"
    with small_disks(var, temporary):
        faults = {fault.name: fault for fault in disk_faults(var, temporary)}
        run = faults["disk full: var/run"]
        run.begin()
        with pytest.raises(OSError, match="No space left"):
            (var / "run" / "a").write_bytes(b"a")
        (var / "releases" / "a").write_bytes(b"a")
        run.end()
        (var / "run" / "a").write_bytes(b"a")
        frozen = faults["read-only: var with all in it"]
        frozen.begin()
        for name in ("", "run", "log/predictions"):
            with pytest.raises(OSError, match="Read-only"):
                (var / name / "b").write_bytes(b"b")
        assert (var / "run" / "a").read_bytes() == b"a"
        frozen.end()
        (var / "run" / "b").write_bytes(b"b")
    assert not (var / "run" / "a").exists()
