"""Puts the pages and files that texts of marloft name into the wheel; see also pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# They keep their places below marloft/share, so that the links between them hold.
SHARED = (
    "docs/*.md",
    "docs/openapi.yaml",
    "docs/decisions/*.md",
    "monitoring/*.md",
    "monitoring/*.yml",
    "monitoring/dashboards/*.json",
    "monitoring/rules/*.yaml",
    "monitoring/rules_test/*.yaml",
    "archive_configs/outcomes.yaml",
    "handlers/outcomes.py",
)


class BuildWithPages(build_py):
    """Builds the package, then copies what is shared; an editable install reads it in place."""

    def run(self) -> None:
        """Copy the files below `marloft/share`."""
        super().run()
        if self.editable_mode:
            return
        for pattern in SHARED:
            for file in sorted(ROOT.glob(pattern)):
                place = Path(self.build_lib, "marloft", "share", file.relative_to(ROOT))
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)


setup(cmdclass={"build_py": BuildWithPages})
