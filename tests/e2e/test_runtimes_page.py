"""docs/runtimes.md as it stands: every block is run, and what it prints is what the page says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.factories import REPOSITORY
from marloft.archive.spec import read_artifact
from marloft.contract.manifest import Runtime
from tests.doc_commands import read
from tests.e2e.test_doc_commands import activate, check, place, run
from tests.unit.test_troubleshooting import said

pytestmark = pytest.mark.e2e

PAGE = REPOSITORY / "docs" / "runtimes.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^(?:#|//) ([\w/]+\.\w+)$")
_CELL = re.compile(r"^\| (?:`` (?P<long>.+?) ``|`(?P<short>[^`]+)`) \|", re.MULTILINE)


class Page(NamedTuple):
    """The page's files by path, and the code that is run in order."""

    files: dict[str, str]
    code: str


def read_page(text: str) -> Page:
    """Take the page apart: a block is a file when its first line is a comment with a path."""
    files, code = {}, []
    for language, block in _BLOCK.findall(text):
        first, _, rest = block.partition("\n")
        file = _FILE.match(first)
        if file:
            files[file[1]] = rest
        elif language == "python":
            code.append(block)
        else:
            assert language == "bash", f"nothing runs this {language} block: {first}"
    return Page(files, "\n".join(code))


def promised(code: str) -> list[str]:
    """Return what the comments after `print(...)` say is printed."""
    found = []
    lines = code.splitlines()
    for number, line in enumerate(lines):
        if line.lstrip().startswith("print("):
            _, comment, text = line.partition("  # ")
            found += [text] if comment else []
            for below in [] if comment else lines[number + 1 :]:
                if not below.startswith("# "):
                    break
                found.append(below.removeprefix("# "))
    return found


PARTS = read_page(PAGE.read_text())


def test_examples_run_in_order_and_print_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(PARTS.code)
    command = [sys.executable, "-W", "error", "page.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == promised(PARTS.code)
    assert len(promised(PARTS.code)) >= 6


COMMANDS = [each for each in read(f"docs/{PAGE.name}") if "<<'PY'" not in each.text]


def write_project(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the page's files, each with these texts replaced."""
    project = activate(folder)
    for name, content in PARTS.files.items():
        text = content
        for old, new in changes:
            text = text.replace(old, new)
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    return project


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_project_with_an_input_per_request_is_packed_and_replayed(
    runtime: Runtime, tmp_path: Path
) -> None:
    changes = [
        ("model.onnx", f"model.{runtime}"),
        ("export_onnx", f"export_{runtime}"),
        ("runtime: onnx", f"runtime: {runtime}"),
    ]
    project = write_project(tmp_path, *changes)
    assert len(COMMANDS) == 4
    check(COMMANDS, run(project, COMMANDS, limit_s=180))
    sidecar = read_artifact(project / "build" / f"model.{runtime}", runtime)
    assert sidecar.inputs == {"user": "int64[1]", "items": "float32[n,2]"}
    assert sidecar.outputs == {"score": "float32[n]", "interest": "float32[]"}


def test_the_same_project_by_rows_is_not_packed_and_says_what_to_write(tmp_path: Path) -> None:
    project = write_project(tmp_path, ('    batch_by = "requests"\n', ""))
    session = run(project, COMMANDS, limit_s=180)
    *_, packing, _ = map(place, COMMANDS)
    assert session.failed == packing
    assert 'write `batch_by = "requests"` in the handler' in session.outputs[packing]


@pytest.mark.parametrize(
    "quoted", [match["long"] or match["short"] for match in _CELL.finditer(PAGE.read_text())]
)
def test_message_is_one_that_is_said(quoted: str) -> None:
    if "…" in quoted or " " in quoted:
        assert said(quoted)


def test_what_nobody_runs_or_says_is_noticed() -> None:
    with pytest.raises(AssertionError, match="nothing runs this yaml block"):
        read_page("```yaml\nname: x\n```\n")
    assert promised("print(1)  # 1\nx = 2\nprint(x)\n# 2\n# 3\n\n# no") == ["1", "2", "3"]
    assert not said("… has no lighthouse …")
