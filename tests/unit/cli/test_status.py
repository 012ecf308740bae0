"""What `status`, `list`, `gc` and `history` print, and the exit status of each."""

import json
import shutil
from pathlib import Path

from tests.unit.cli.running import Marloft


def test_list_names_what_a_release_names(project: Path, marloft: Marloft) -> None:
    found = {each["file"]: each for each in json.loads(marloft("list", "--json"))}
    assert found["ranker-1.0.mar"]["role"] == "default"
    assert found["ranker-1.1.mar"]["release"] is None
    assert found["ranker-1.0.mar"]["sha256"][:12] in marloft("list")


def test_gc_deletes_only_when_told_to(project: Path, store: Path, marloft: Marloft) -> None:
    (project / "model_store").unlink()
    shutil.copytree(store, project / "model_store")
    archive = project / "model_store" / "ranker-1.1.mar"
    assert "garbage: ranker-1.1.mar" in marloft("gc", "--keep", "0")
    assert archive.exists()
    assert "deleted: ranker-1.1.mar" in marloft("gc", "--keep", "0", "--delete")
    assert not archive.exists()
    assert marloft("gc", "--keep", "0") == "0 archives, 0 bytes\n"


def test_status_without_a_server_exits_2(project: Path, marloft: Marloft) -> None:
    assert "nothing is live" in marloft("status", code=2)
    assert json.loads(marloft("status", "--json", code=2))["release"] == 1
    assert "no release" in marloft("status", "--var", "elsewhere", code=2)
