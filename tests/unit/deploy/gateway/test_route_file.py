"""The route file is put in place whole, and says which releases it was rendered from."""

from pathlib import Path

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import ReleasedModel, ReleasedVersion
from marloft.deploy.gateway.route_file import routes_label, write_routes
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.release.in_force import InForce
from tests.releases import made_release

PINNED = ReleasedVersion(sha256="a" * 64, settings=WorkerSettings())
MODEL = ReleasedModel(default="1.0", versions={"1.0": PINNED})
OLD = made_release({"ranker": MODEL, "outcomes": MODEL}, 6)
NEW = made_release({"ranker": MODEL, "outcomes": MODEL}, 7)


def test_routes_are_labelled_with_their_release() -> None:
    assert routes_label(render_routes(NEW)) == "7"


def test_models_whose_routes_are_of_another_release_are_named_in_the_label() -> None:
    in_force = InForce(front=NEW, models={"ranker": OLD, "outcomes": NEW})
    assert routes_label(render_routes(NEW, in_force=in_force)) == "7;ranker=6"


@pytest.mark.parametrize("content", [b"", b'{"version_info": "7"', b"[]", b'{"version_info": 7}'])
def test_file_that_cannot_be_read_has_no_label(content: bytes) -> None:
    assert routes_label(content) == ""


def test_file_without_a_label_has_none() -> None:
    assert routes_label(b'{"resources": []}') == ""


def test_write_routes_renames_the_file_into_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "routes" / "routes.json"
    write_routes(path, b"old")
    before = path.stat().st_ino
    write_routes(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before
    assert [p.name for p in path.parent.iterdir()] == ["routes.json"]
