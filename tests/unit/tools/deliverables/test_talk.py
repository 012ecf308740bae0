"""The talk: rendered as committed, a page for each slide, notes for 15 minutes."""

import re
from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from tools.deliverables.talk import FOLDER, NOTES, SLIDES, SOURCE, render

pytestmark = pytest.mark.slow


TALK = (REPOSITORY / FOLDER / SOURCE).read_text()
_SLIDE = re.compile(
    r"^#slide\(\"(?P<title>[^\"]+)\", minutes: (?P<minutes>[\d.]+)\)\[\n(?P<notes>.*?)\n\]\[",
    re.MULTILINE | re.DOTALL,
)
SLIDE_LIST = list(_SLIDE.finditer(TALK))


def page_count(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_each_slide_has_a_page_and_notes() -> None:
    assert len(SLIDE_LIST) == TALK.count("\n#slide(")
    assert page_count((REPOSITORY / FOLDER / SLIDES).read_bytes()) == len(SLIDE_LIST)
    assert all(len(slide["notes"].split()) > 20 for slide in SLIDE_LIST)


def test_talk_lasts_15_minutes() -> None:
    assert sum(float(slide["minutes"]) for slide in SLIDE_LIST) == 15
    spoken = sum(len(slide["notes"].split()) for slide in SLIDE_LIST)
    # 130 words a minute are a calm speaker; the rest of the time belongs to the slides.
    assert spoken / 130 < 15


@pytest.mark.parametrize("name", [SLIDES, NOTES])
def test_pdf_is_the_rendered_one(tmp_path: Path, name: str) -> None:
    render(REPOSITORY, tmp_path)
    committed = (REPOSITORY / FOLDER / name).read_bytes()
    assert (tmp_path / name).read_bytes() == committed, "make presentation"
    assert len(committed) < 1_000_000


def test_another_slide_makes_another_page(tmp_path: Path) -> None:
    for folder in (FOLDER, Path("docs/results")):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file():
                copy = tmp_path / path.relative_to(REPOSITORY)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    (tmp_path / FOLDER / SOURCE).write_text(TALK + '#slide("One more", minutes: 1)[Say.][Show.]\n')
    render(tmp_path)
    assert page_count((tmp_path / FOLDER / SLIDES).read_bytes()) == len(SLIDE_LIST) + 1
