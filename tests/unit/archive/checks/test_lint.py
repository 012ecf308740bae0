"""The lint finds what TorchServe would only say by dying, and leaves good handlers alone."""

import zipfile
from pathlib import Path
from typing import get_args

import pytest

from harness import factories
from marloft.archive.checks.lint import _BATCH_BY, _BATCH_BY_WORDS, lint
from marloft.archive.manifest import read_manifest
from marloft.archive.pack import write_archive
from marloft.errors import ArchiveError
from marloft.serving import Handler
from marloft.serving.rows import BatchBy

SHIPPED = ("ranker_v1", "outcomes", "feed_ab_assign", "feed_ab_select", "ranker_planted")


def test_words_are_those_of_the_handler() -> None:
    assert get_args(BatchBy) == _BATCH_BY_WORDS
    assert hasattr(Handler, _BATCH_BY)


def _lint(project: Path, config: str = "ranker_v1") -> None:
    path = project / write_archive(project / "archive_configs" / f"{config}.yaml", project).file
    with zipfile.ZipFile(path) as archive:
        lint(archive, read_manifest(path))


def _changed(folder: Path, old: str, new: str) -> Path:
    project = factories.write_project(folder)
    handler = project / "handlers" / "ranker.py"
    text = handler.read_text()
    assert old in text
    handler.write_text(text.replace(old, new, 1))
    return project


@pytest.mark.parametrize("config", SHIPPED)
def test_shipped_archives_are_clean(tmp_path: Path, config: str) -> None:
    _lint(factories.write_project(tmp_path), config)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(Handler)", "", r"ranker\.py:\d+: RankerHandler derives from nothing"),
        ("(Handler)", "(np.ndarray)", r"derives from numpy\.ndarray; without marloft\.serving"),
        ("def decode(self, request: Request)", "def decode(self)", r"write `def decode\(self, req"),
        ("def encode(self, request: Request, ", "def encode(self, ", "encode has other arguments"),
        ("def load(self, ", "def load(self, more: int, ", "load has other arguments"),
        ("def decode(", "async def decode(", "decode is async"),
        ("def decode(", "def deocde(", "RankerHandler has no decode"),
        ("import numpy as np", "import numpy as np\nimport nowhere_to_be", "neither packed nor"),
        ("import numpy as np", "import numpy as np\nimport pytest", r"not required; add pytest=="),
        (
            "    def load(",
            '    batch_by = "request"\n\n    def load(',
            r"ranker\.py:\d+: batch_by is 'request'; write `batch_by = \"rows\"` or",
        ),
        (
            "    def load(",
            "    batch_by: str = str('rows')\n\n    def load(",
            r"ranker\.py:\d+: batch_by is str\('rows'\); write",
        ),
        (
            "super().load(archive)",
            "import nowhere_to_be",
            r"ranker\.py:\d+: nowhere_to_be is neither",
        ),
    ],
)
def test_fault_is_found_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        _lint(_changed(tmp_path, old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def load(self, archive: LoadedArchive)", "def load(self, *archive: LoadedArchive)"),
        ("def decode(self, request: Request)", "def decode(self, request, again=False)"),
        ("import numpy as np", "try:\n    import nowhere\nexcept ImportError:\n    pass"),
        ("import numpy as np", "if TYPE_CHECKING:\n    import nowhere"),
        ("Handler, LoadedArchive", "Handler as Base, LoadedArchive"),
        ("    def load(", '    batch_by = "rows"\n\n    def load('),
        ("    def load(", '    batch_by: ClassVar[str] = "requests"\n\n    def load('),
        ("    def load(", "    batch_by: str\n    batches = 3\n\n    def load("),
    ],
)
def test_what_works_is_fine(tmp_path: Path, old: str, new: str) -> None:
    project = _changed(tmp_path, old, new)
    handler = project / "handlers" / "ranker.py"
    if "as Base" in new:
        handler.write_text(handler.read_text().replace("(Handler)", "(Base)"))
    _lint(project)


def test_required_package_may_be_imported(tmp_path: Path) -> None:
    project = _changed(tmp_path, "import numpy as np", "import numpy as np\nimport pytest")
    config = project / "archive_configs" / "ranker_v1.yaml"
    (project / "requirements.txt").write_text("pytest>=1\n")
    config.write_text(config.read_text() + "requirements: ../requirements.txt\n")
    _lint(project)


def test_other_packed_file_is_read_too(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    (project / "helper.py").write_text("import nowhere\n")
    config = project / "archive_configs" / "ranker_v1.yaml"
    config.write_text(config.read_text().replace("files:\n", "files:\n  helper.py: ../helper.py\n"))
    with pytest.raises(ArchiveError, match=r"helper\.py:1: nowhere is neither packed"):
        _lint(project)
