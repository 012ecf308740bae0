"""A handler on a tiny archive, with a state folder of the test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import factories
from marloft.contract.manifest import GOLDEN_JSONL, SCHEMA_JSON
from marloft.contract.schema import to_json_schema
from marloft.files import to_json, write_atomic
from marloft.serving import Handler
from tests.unit.serving.driver import SCHEMA, Server, TinyRanker


@pytest.fixture
def archive_folder(tmp_path: Path) -> Path:
    """An unpacked archive without archive.json, as torch-model-archiver leaves it."""
    folder = factories.write_export(tmp_path / "archive")
    write_atomic(folder / SCHEMA_JSON, to_json(to_json_schema(SCHEMA)))
    assert (folder / GOLDEN_JSONL).exists()
    return folder


@pytest.fixture
def serve(
    tmp_path: Path, archive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Handler], Server]:
    """Start a handler on the tiny archive, with a state folder of the test's own."""
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    return lambda handler: Server(handler, archive_folder, tmp_path / "var")


@pytest.fixture
def server(serve: Callable[[Handler], Server]) -> Server:
    """The tiny ranker, started."""
    return serve(TinyRanker())
