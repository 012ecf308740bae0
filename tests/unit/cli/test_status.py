"""What `status`, `list`, `gc` and `history` print, and the exit status of each."""

import json
import shutil
from pathlib import Path

import pytest

from marloft.cli.status import _show_watch
from marloft.contract.live import WatchState
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


@pytest.mark.parametrize(("set_aside", "said"), [(0, False), (12, True)])
def test_status_says_why_a_roll_out_stands_still(
    capsys: pytest.CaptureFixture[str], set_aside: int, said: bool
) -> None:
    facts = {"percent": 20, "held_s": 3.0, "hold_s": 60.0, "answered": 4, "min_requests": 50}
    watch = WatchState(version="2.0", **facts, readings=[], set_aside=set_aside)  # type: ignore[arg-type]
    _show_watch("ranker", watch)
    assert ("12 looks set aside: more requests came" in capsys.readouterr().out) == said
