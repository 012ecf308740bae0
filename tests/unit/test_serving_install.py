"""A machine that only serves has what docker/requirements.txt names, and no more is imported."""

import subprocess
import sys
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.factories import REPOSITORY

IMPORTS = "import marloft.cli, marloft.deploy.supervisor, marloft.serving.handler"
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError("not in docker/requirements.txt: " + name)

sys.meta_path.insert(0, Blocked())
"""


def absent_modules() -> set[str]:
    """Return the installed top-level modules that no package of the image brings."""
    lines = (REPOSITORY / "docker" / "requirements.txt").read_text().splitlines()
    pinned = [Requirement(text).name for line in lines if (text := line.split("#")[0].strip())]
    image = {canonicalize_name(name) for name in [*pinned, "marloft"]}
    return {
        module
        for module, names in packages_distributions().items()
        if not image & {canonicalize_name(name) for name in names}
    }


def import_as_in_the_image(statement: str) -> subprocess.CompletedProcess[str]:
    code = f"absent = {absent_modules()!r}{BLOCKED}\n{statement}"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_serving_imports_only_what_the_image_has() -> None:
    result = import_as_in_the_image(IMPORTS)
    assert result.returncode == 0, result.stderr


def test_an_import_beyond_the_image_is_noticed() -> None:
    result = import_as_in_the_image("import marloft.ranker.movielens")
    assert "not in docker/requirements.txt: polars" in result.stderr
