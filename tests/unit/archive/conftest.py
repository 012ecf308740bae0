"""A good archive and its members, which the tests of what is refused take apart."""

from pathlib import Path

import pytest

from harness import factories
from harness.hostile_archives.building import Members, read
from marloft.archive.pack import write_archive


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    store = project / "model_store"
    return store / write_archive(project / "archive_configs" / "ranker_v1.yaml", store).file


@pytest.fixture
def members(good: Path) -> Members:
    return read(good)
