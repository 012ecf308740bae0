"""Every module has a test of its own in the same place, or is listed here with the reason."""

import ast
import re
from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from tools.imports import modules

UNIT = REPOSITORY / "tests" / "unit"
# Module → why it has none, with the tests that hold it instead.
WITHOUT_MIRROR: dict[str, str] = {
    "harness.documents": "packed and checked: tests/unit/archive/checks/test_documents.py",
    "harness.factories": "their model against its own NumPy: tests/unit/handlers/test_ranker.py",
    **{
        f"harness.hostile_archives.{name}": "the corpus: tests/hostile_archives/test_"
        + ("hostile_handlers.py" if name == "handlers" else "hostile_archives.py")
        for name in ["archives", "building", "contents", "forms", "handlers", "making", "origins"]
    },
    "harness.faults.fault": "types alone: tests/unit/harness/faults/test_others.py",
    "harness.faults.processes": "listed there, needs a server: "
    "tests/unit/harness/faults/test_others.py",
    "harness.lens": "packed and tried: tests/unit/archive/sandbox/test_handler_trial.py",
    "harness.ranker_serving": "a server to break: tests/soak/test_soak.py",
    "harness.simulated_rollouts": "tests/unit/deploy/guardrails/test_simulated.py draws from it",
    "marloft": "what it exports: tests/unit/test_public.py",
    "marloft.version": "as above: tests/unit/test_public.py",
    "marloft.cli": "its verbs: tests/unit/cli/test_help.py",
    "marloft.cli.card": "run as typed, since libraries load late: tests/e2e/test_fairness_cli.py",
    "marloft.cli.experiment": "run as typed, as above: tests/e2e/test_experiment_cli.py",
    "marloft.cli.fairness": "run as typed, as above: tests/e2e/test_fairness_cli.py",
    **{
        f"marloft.archive.checks.{name}": "a part: tests/unit/archive/checks/test_hidden_code.py"
        for name in ["executables", "inner_files", "pickles", "windows"]
    },
    "marloft.archive.checks.secrets": "told by it: tests/unit/archive/checks/test_screening.py",
    "marloft.archive.replay": "runs handlers: tests/e2e/test_archive_replay.py",
    "marloft.archive.sandbox.handler_worker": "a program that needs TorchServe's loader: "
    "tests/unit/archive/sandbox/test_handler_trial.py",
    "marloft.runtimes.protocol": "types alone: tests/unit/runtimes/test_load.py",
}


def mirror(module: str) -> Path:
    """Return where the test of a module lies, below tests/unit; `marloft.` is left out."""
    *folders, name = module.removeprefix("marloft.").split(".")
    return Path(*folders, f"test_{name.strip('_')}.py")


def only_exports(source: str) -> bool:
    """Whether a file only imports names of others and lists them, as most `__init__.py` do."""
    return all(
        isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in ast.parse(source).body
    )


def unmirrored(files: dict[str, Path], unit: Path) -> set[str]:
    """Return the modules that hold code and have no test of their own."""
    return {
        module
        for module, path in files.items()
        if not (unit / mirror(module)).is_file()
        and not (path.stem in ("__init__", "__main__") and only_exports(path.read_text()))
    }


FILES = modules(REPOSITORY, "src", "harness", "tools")


def test_module_without_a_mirror_is_listed() -> None:
    assert unmirrored(FILES, UNIT) - WITHOUT_MIRROR.keys() == set()


def test_listed_module_is_there_and_has_no_mirror() -> None:
    assert WITHOUT_MIRROR.keys() - unmirrored(FILES, UNIT) == set()


@pytest.mark.parametrize("reason", sorted(set(WITHOUT_MIRROR.values())))
def test_tests_that_a_reason_names_are_there(reason: str) -> None:
    named = re.findall(r"tests/[\w/]+\.py", reason)
    assert named
    assert [path for path in named if not (REPOSITORY / path).is_file()] == []


def test_module_that_nothing_mirrors_is_noticed(tmp_path: Path) -> None:
    texts = {
        "src/marloft/new/__init__.py": '"""A package."""\nfrom marloft.new.a import a\n',
        "src/marloft/new/a.py": "a = 1\n",
        "src/marloft/new/b.py": "b = 1\n",
        "src/marloft/__init__.py": "def answer():\n    return 42\n",
        "tests/unit/new/test_a.py": "",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = unmirrored(modules(tmp_path, "src"), tmp_path / "tests" / "unit")
    assert found == {"marloft", "marloft.new.b"}
