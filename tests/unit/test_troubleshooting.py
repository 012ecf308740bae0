"""docs/troubleshooting.md quotes messages that the source still says, and names what exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import marloft
from harness.factories import REPOSITORY

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
SOURCE = Path(marloft.__file__).parent
OURS = PAGE[PAGE.index("## What marloft says") : PAGE.index("## What surprises")]
GAP = "…"
# These classes are shown in full; a message that the page lacks fails the test below.
COMPLETE = ("ServingError", "RefusedError", "UnansweredError", "ReleaseError")
# A broken release file, which only a bug or an edit by hand makes; the message says all.
NOT_FOR_THE_PAGE = ("default_model", "routes to version", "outside allocation", "has no model",
                    "the arms of", "does not exist; … holds 1 to")  # fmt: skip


def template(node: ast.expr) -> str:
    """Return a message with a gap for each value; "" for what is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part) for part in parts)
        case ast.FormattedValue():
            return GAP
    return ""


def messages(path: Path) -> Iterator[tuple[str, str]]:
    """Yield class and template of every error that a module raises."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=[message, *_])):
                yield name, template(message)


MESSAGES = [found for path in sorted(SOURCE.rglob("*.py")) for found in messages(path)]
# What is said without being raised at once.
TOLD = [
    template(node)
    for path in sorted(SOURCE.rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.JoinedStr)
]
# Messages that hold a backtick themselves stand between two of them.
_CELL = re.compile(r"^\| (?:`` (?P<long>.+?) ``|`(?P<short>[^`]+)`) \|", re.MULTILINE)
QUOTED = [match["long"] or match["short"] for match in _CELL.finditer(OURS)]


def pattern(quoted: str) -> "re.Pattern[str]":
    # A gap of the page may stand for a gap of the source with text around it, never for nothing.
    return re.compile(".+?".join(re.escape(part) for part in quoted.split(GAP)))


def said(quoted: str) -> bool:
    return any(pattern(quoted).search(text) for text in [*(text for _, text in MESSAGES), *TOLD])


def test_page_quotes_messages() -> None:
    assert len(QUOTED) > 25


@pytest.mark.parametrize("quoted", QUOTED)
def test_quoted_message_is_in_the_source(quoted: str) -> None:
    assert said(quoted)


def test_a_message_that_nobody_says_is_noticed() -> None:
    assert not said("port … on … is a lighthouse")


def unexplained(found: list[tuple[str, str]]) -> list[str]:
    """Return the messages that the page should explain and does not."""
    return [
        text
        for name, text in found
        if name in COMPLETE
        # Without text here it is made elsewhere, of what is told too.
        and text
        and not any(part in text for part in NOT_FOR_THE_PAGE)
        and not any(pattern(quoted).search(text) for quoted in QUOTED)
    ]


def test_page_explains_every_message_about_serving_and_releases() -> None:
    assert unexplained(MESSAGES) == []


def test_a_message_that_the_page_lacks_is_noticed() -> None:
    assert unexplained([("ServingError", "the moon is full")]) == ["the moon is full"]


def paths(text: str) -> set[str]:
    """Return the project's own paths in the page's commands."""
    commands = re.findall(r"`([^`]+)`", text)
    found = re.findall(r"(?:handlers|workflows|archive_configs)/[\w./]+", "\n".join(commands))
    return {path.rstrip(".") for path in found}


def test_paths_in_commands_exist() -> None:
    assert [path for path in paths(PAGE) if not (REPOSITORY / path).exists()] == []
    assert paths("`cat handlers/x.py`") == {"handlers/x.py"}
