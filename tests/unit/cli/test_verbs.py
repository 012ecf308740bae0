"""Verbs are imported when they are asked for, and their pages are where the help says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import marloft.cli
from harness.factories import REPOSITORY
from marloft.cli import app
from marloft.cli.verbs import VERBS, full_name
from marloft.extras import EXTRAS

SOURCE = Path(marloft.cli.__file__).parent


def loaded_by(code: str) -> set[str]:
    """Return the modules that a fresh Python has after running `code`."""
    program = f"import sys\n{code}\nprint(*sys.modules, file=sys.__stdout__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_command_line_alone_loads_no_library_but_its_own() -> None:
    loaded = loaded_by("import marloft.cli")
    assert not loaded & {"msgspec", "numpy", "rich", "httpx2", "onnxruntime", *EXTRAS}
    assert {name for name in loaded if name.startswith("marloft.")} == {
        "marloft.cli",
        "marloft.cli.verbs",
        "marloft.errors",
        "marloft.extras",
        "marloft.pages",
        "marloft.version",
    }


def test_help_of_all_verbs_loads_no_library_of_an_extra() -> None:
    names = "\n".join(f"get_command(app).commands[{verb!r}]" for verb in VERBS)
    code = f"from typer.main import get_command\nfrom marloft.cli import app\n{names}"
    assert not loaded_by(code) & EXTRAS.keys()


def test_loaded_module_is_noticed() -> None:
    assert "duckdb" in loaded_by("import duckdb") & EXTRAS.keys()


def test_every_module_of_verbs_is_in_the_table() -> None:
    with_verbs = {
        path.stem
        for path in SOURCE.glob("*.py")
        # `log` mounts `forget`.
        if path.stem not in ("__init__", "verbs", "options", "forget")
        and any(isinstance(node, ast.FunctionDef) for node in ast.parse(path.read_text()).body)
    }
    assert {place.split(":")[0] for place in VERBS.values()} == with_verbs


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["experiment", "analyze", "x.yaml"], "experiment analyze"),
        (["pack", "x.yaml"], "pack"),
        (["--version"], ""),
        (["experiment"], "experiment"),
        ([], ""),
        (["nosuch"], ""),
    ],
)
def test_command_line_is_named_by_its_verb(words: list[str], verb: str) -> None:
    assert full_name(words) == verb


def test_page_to_read_on_is_one_unbroken_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from marloft.cli import main; main()"
    for verb in (["pack"], ["experiment", "size"]):
        command = [sys.executable, "-c", code, *verb, "--help"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        (line,) = [line for line in done.stdout.splitlines() if "Read on: " in line]
        page = line.split("Read on: ")[1].removesuffix(".")
        assert Path(page).parent == REPOSITORY / "docs"
        assert Path(page).is_file()


def test_near_miss_is_told_the_verb() -> None:
    done = CliRunner().invoke(app, ["serv"])
    assert done.exit_code == 2
    assert "Did you mean 'serve'?" in done.output
