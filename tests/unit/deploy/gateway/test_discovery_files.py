"""A discovery file is put in place whole, and says which releases it was rendered from."""

from hashlib import sha256
from pathlib import Path

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import ReleasedModel, ReleasedVersion
from marloft.deploy.gateway.discovery_files import discovery_response, file_version, write_file
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.release.in_force import InForce
from marloft.files import to_json
from tests.releases import made_release

PINNED = ReleasedVersion(sha256="a" * 64, settings=WorkerSettings())
MODEL = ReleasedModel(default="1.0", versions={"1.0": PINNED})
OLD = made_release({"ranker": MODEL, "outcomes": MODEL}, 6)
NEW = made_release({"ranker": MODEL, "outcomes": MODEL}, 7)


def test_routes_are_labelled_with_their_release() -> None:
    assert file_version(render_routes(NEW)).partition("#")[0] == "7"


def test_models_whose_routes_are_of_another_release_are_named_in_the_label() -> None:
    in_force = InForce(front=NEW, models={"ranker": OLD, "outcomes": NEW})
    version = file_version(render_routes(NEW, in_force=in_force))
    assert version.partition("#")[0] == "7;ranker=6"


def test_version_changes_with_the_content_alone() -> None:
    ready, again, one_down = (
        file_version(render_routes(NEW, down)) for down in ([], [], [("ranker", "1.0")])
    )
    assert ready == again
    assert ready != one_down
    digest = sha256(to_json({"resources": [{"a": 1}]})).hexdigest()
    assert file_version(discovery_response("7", [{"a": 1}])) == f"7#{digest[:12]}"


@pytest.mark.parametrize("content", [b"", b'{"version_info": "7"', b"[]", b'{"version_info": 7}'])
def test_file_that_cannot_be_read_has_no_label(content: bytes) -> None:
    assert file_version(content) == ""


def test_file_without_a_label_has_none() -> None:
    assert file_version(b'{"resources": []}') == ""


def test_write_routes_renames_the_file_into_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "routes" / "routes.json"
    write_file(path, b"old")
    before = path.stat().st_ino
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before
    assert [p.name for p in path.parent.iterdir()] == ["routes.json"]
