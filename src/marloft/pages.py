"""Where the pages of `docs/` lie: in a checkout at its top, in an installed wheel inside marloft.

Texts name a page as `docs/archive.md`; what is shown to people says where that is on their machine.
"""

import re
from pathlib import Path

_PAGE = re.compile(r"(?<![\w/.-])docs/[a-z][a-z_-]*\.md")


def shared_folder() -> Path:
    """Return the folder that holds `docs/`, `monitoring/` and the outcomes archive's files."""
    packed = Path(__file__).with_name("share")
    return packed if packed.is_dir() else Path(__file__).parents[2]


def with_paths(text: str) -> str:
    """Return a text with each page that it names as a path, relative below the working directory.

    A name that is no page of marloft's stays as it is.
    """
    return _PAGE.sub(lambda match: _path_of(match[0]), text)


def _path_of(page: str) -> str:
    path = shared_folder() / page
    if not path.is_file():
        return page
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
