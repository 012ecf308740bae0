"""Every command of the documentation is run by a test, or says what it needs that no test has."""

import pytest

from harness.factories import REPOSITORY
from tests.doc_commands import (
    ALONE,
    BY_DEMO,
    ELSEWHERE,
    MOST_MARKS,
    RUNNER,
    SERVED,
    VERBATIM,
    Command,
    commands,
    complaints,
    demo_commands,
    marks,
    other_than_default,
    pages,
    read,
    run_by,
)

COMMANDS = [command for page in pages() for command in read(page)]
MARKED = """\
<!-- not covered by the tests: needs a cluster -->
```console
$ kubectl get pods
```
"""


def test_documentation_has_no_command_that_nothing_runs() -> None:
    assert complaints(COMMANDS) == []


def test_blocks_that_no_test_covers_are_few() -> None:
    counted = sum(marks((REPOSITORY / page).read_text()) for page in pages())
    assert 0 < counted <= MOST_MARKS


def test_pages_run_by_a_test_have_commands() -> None:
    have = {command.page for command in COMMANDS}
    assert have >= {*SERVED, *ALONE, *VERBATIM}


@pytest.mark.parametrize("page", VERBATIM)
def test_page_run_verbatim_is_named_by_its_test(page: str) -> None:
    test = (REPOSITORY / VERBATIM[page]).read_text()
    assert f'REPOSITORY / "docs" / "{page.removeprefix("docs/")}"' in test
    # Both tests look for this kind of block alone.
    assert {block for block in _languages(page) if block in ("console", "sh", "")} == set()


@pytest.mark.parametrize("words", ELSEWHERE)
def test_command_run_elsewhere_is_still_there(words: str) -> None:
    file, proof = ELSEWHERE[words]
    assert proof in (REPOSITORY / file).read_text()
    assert words in {command.words for command in COMMANDS}


@pytest.mark.parametrize("words", BY_DEMO)
def test_command_run_by_the_demo_differs_by_defaults_only(words: str) -> None:
    assert BY_DEMO[words] in demo_commands()
    assert other_than_default(words, BY_DEMO[words]) == []
    assert words in {command.words for command in COMMANDS}


def test_option_that_is_no_default_of_the_recipe_is_noticed() -> None:
    words = "python training/export.py --run build/tain --out build/export"
    assert other_than_default(words, "python training/export.py") == ["--run build/tain"]


@pytest.mark.parametrize("fence", ["console", "bash", "sh", ""])
def test_command_that_nothing_runs_is_noticed_with_its_place(fence: str) -> None:
    line = "marloft promote   # goes live"
    prompt = "$ " if fence == "console" else ""
    found = commands("docs/unknown.md", f"# New\n\n```{fence}\n{prompt}{line}\n```\n")
    (complaint,) = complaints(found)
    assert complaint.startswith("docs/unknown.md:4: no test runs `marloft promote`;")


def test_mark_covers_the_block_below_it_alone() -> None:
    first, second = commands("docs/unknown.md", MARKED + MARKED.split("\n", 1)[1])
    assert run_by(first) == "needs a cluster"
    assert len(complaints([first, second])) == 1


def test_marks_are_counted_by_block() -> None:
    text = MARKED * (MOST_MARKS + 1)
    assert marks(text) == MOST_MARKS + 1 > MOST_MARKS
    assert marks(text.replace("-->\n", "-->\n\n")) == 0


def test_console_block_is_read_as_commands_with_what_they_print() -> None:
    text = "```console\n$ curl -s x \\\n    -d y   # asks\n{}\n# apt-get install z\n```\n"
    assert commands("README.md", text) == [
        Command("README.md", 2, "curl -s x \\\n    -d y   # asks", ("{}",), ""),
        Command("README.md", 5, "apt-get install z", (), ""),
    ]
    assert commands("README.md", text)[0].words == "curl -s x -d y"


def test_python_block_is_one_command_and_a_picture_none() -> None:
    text = "```python\nprint(1)\n```\n\n```\nmarloft pack ──► x.mar\n```\n"
    (command,) = commands("docs/unknown.md", text)
    assert command.text == "python - <<'PY'\nprint(1)\nPY"


def test_page_of_the_runner_is_run_by_it() -> None:
    (command,) = commands("docs/releases.md", "```console\n$ marloft apply\n```\n")
    assert run_by(command) == RUNNER


def _languages(page: str) -> list[str]:
    fences = [line for line in (REPOSITORY / page).read_text().splitlines() if "```" in line]
    return [fence.strip().removeprefix("```") for fence in fences[::2]]
