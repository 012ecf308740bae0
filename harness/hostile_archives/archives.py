"""Every hostile archive, by what is wrong with it."""

from harness.hostile_archives.contents import CONTENT
from harness.hostile_archives.forms import FORM
from harness.hostile_archives.making import GoodArchive, HostileArchive, good_archive
from harness.hostile_archives.origins import ORIGIN

__all__ = [
    "CONTENT",
    "FORM",
    "HOSTILE_ARCHIVES",
    "ORIGIN",
    "GoodArchive",
    "HostileArchive",
    "good_archive",
]

HOSTILE_ARCHIVES = (*FORM, *CONTENT, *ORIGIN)
