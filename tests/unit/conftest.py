"""A model store with two versions of the tiny ranker, shared by the tests of what is decided."""

from pathlib import Path

import pytest

from harness import factories
from marloft.archive.pack import write_archive


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with ranker 1.0 and 1.1."""
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder)
    config = folder / "archive_configs" / "ranker_v1.yaml"
    write_archive(config, folder / "store")
    other = config.with_name("other.yaml")
    other.write_text(config.read_text().replace('version: "1.0"', 'version: "1.1"'))
    write_archive(other, folder / "store")
    return folder / "store"
