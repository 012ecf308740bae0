"""`marloft push` and `marloft pull`: the same bytes on both sides, by a version's name."""

import json
from pathlib import Path

from tests.unit.cli.running import Marloft, invoke


def test_pushed_archive_is_pulled_under_its_name(store: Path, tmp_path: Path) -> None:
    shared = f"file://{tmp_path / 'shared'}"
    code, output = invoke("push", "ranker@1.0", shared, "--store", store, "--json")
    assert code == 0
    pushed = json.loads(output)
    code, output = invoke("pull", "ranker@1.0", shared, "--store", tmp_path / "own")
    assert code == 0
    assert pushed["sha256"] in output
    copied = tmp_path / "own" / "ranker-1.0.mar"
    assert copied.read_bytes() == (store / "ranker-1.0.mar").read_bytes()
    again = invoke("pull", "ranker@1.0", shared, "--store", tmp_path / "own")[1]
    assert "copied nothing: both sides have it" in again


def test_unsigned_archive_is_not_pulled_where_a_signature_is_required(
    store: Path, tmp_path: Path, marloft: Marloft
) -> None:
    shared = f"file://{tmp_path / 'shared'}"
    marloft("push", "ranker@1.0", shared, "--store", str(store))
    own = str(tmp_path / "own")
    said = marloft(*("pull", "ranker@1.0", shared, "--store", own, "--require-signature"), code=2)
    assert "MRL016" in said
    assert not (tmp_path / "own" / "ranker-1.0.mar").exists()
