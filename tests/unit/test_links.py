"""Every relative link of the Markdown files leads to a file, and every anchor to a heading."""

import re
import subprocess
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness.factories import REPOSITORY

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_ANCHOR = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//")


def pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [REPOSITORY / name for name in listed.stdout.splitlines()]


def links(text: str) -> list[str]:
    """Return the relative targets of a page, those in code left out."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    return [target for target in _LINK.findall(prose) if not _ELSEWHERE.match(target)]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = _FENCE.sub("", text)
    seen: Counter[str] = Counter()
    found = set(_ANCHOR.findall(prose))
    for title in _HEADING.findall(prose):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(slug if seen[slug] == 0 else f"{slug}-{seen[slug]}")
        seen[slug] += 1
    return found


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    text = page.read_text()
    found = []
    for target in links(text):
        name, _, anchor = unquote(target).partition("#")
        path = (page.parent / name).resolve() if name else page
        missing = not path.exists()
        if missing or (anchor and path.suffix == ".md" and anchor not in anchors(path.read_text())):
            found.append(target)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_links_that_lead_nowhere_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `code` thing\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#one-code-thing) [b](other.md#twice-1) [c](#here) [web](https://x.org/#y)\n"
        "[d](gone.md) [e](other.md#two) ![f](gone.png) [g](#nowhere) `[h](in-code.md)`\n"
        "# Here\n```\n[i](in-fence.md)\n```\n"
    )
    assert broken(page) == ["gone.md", "other.md#two", "gone.png", "#nowhere"]
