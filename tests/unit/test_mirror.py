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
    "harness.ranker_serving": "a server to break: tests/soak/test_soak.py",
    "harness.simulated_rollouts": "tests/unit/deploy/guardrails/test_simulated.py draws from it",
    "marloft": "what it exports: tests/unit/test_public.py",
    "marloft.cli": "its verbs: tests/unit/cli/test_help.py",
    "marloft.cli.card": "run as typed, since libraries load late: tests/e2e/test_fairness_cli.py",
    "marloft.cli.experiment": "run as typed, as above: tests/e2e/test_experiment_cli.py",
    "marloft.cli.fairness": "run as typed, as above: tests/e2e/test_fairness_cli.py",
    # Provisional: archive, deploy and runtimes.
    "marloft.archive.build": "tests/unit/archive/sandbox/test_handler_trial.py",
    "marloft.archive.card_fairness": "a part of the card: tests/unit/archive/test_card.py",
    "marloft.archive.checks.contents": "one of the checks: tests/unit/archive/test_verify.py",
    "marloft.archive.checks.layout": "one of the checks: tests/unit/archive/test_verify.py",
    "marloft.archive.manifest": "tests/unit/archive/test_pack.py",
    "marloft.archive.project.stock_archive": "tests/unit/archive/project/test_adopt.py",
    "marloft.archive.replay": "runs handlers: tests/e2e/test_archive_replay.py",
    "marloft.archive.sandbox.handler_run": "tests/unit/archive/sandbox/test_handler_trial.py",
    "marloft.archive.sandbox.handler_worker": "runs in a process of its own: "
    "tests/unit/archive/sandbox/test_handler_trial.py",
    "marloft.archive.sandbox.keeper": "tests/hostile_archives/test_hostile_handlers.py",
    "marloft.archive.zip_writer": "tests/unit/archive/test_pack.py",
    "marloft.deploy.control.actions": "needs servers: tests/e2e/test_serve.py",
    "marloft.deploy.control.announce": "needs servers: tests/e2e/test_serve.py",
    "marloft.deploy.control.controller": "needs servers: tests/e2e/test_serve.py",
    "marloft.deploy.control.golden_gate": "tests/unit/deploy/control/test_admission.py",
    "marloft.deploy.events": "tests/e2e/test_serve.py",
    "marloft.deploy.gateway.envoy_config": "tests/unit/deploy/gateway/test_bootstrap.py",
    "marloft.deploy.gateway.replies": "tests/e2e/test_gateway_chain.py",
    "marloft.deploy.gateway.request_checks": "tests/e2e/test_gateway_chain.py",
    "marloft.deploy.gateway.route_file": "tests/unit/deploy/gateway/test_routes.py",
    "marloft.deploy.guardrails.watching": "tests/unit/deploy/guardrails/test_watched.py",
    "marloft.deploy.processes.envoy": "needs Envoy: tests/e2e/test_gateway_chain.py",
    "marloft.deploy.processes.exporter": "needs servers: tests/e2e/test_monitoring.py",
    "marloft.deploy.processes.group": "needs servers: tests/e2e/test_lifecycle_restart.py",
    "marloft.deploy.processes.torchserve": "needs TorchServe: tests/e2e/test_serve.py",
    "marloft.deploy.project": "needs servers: tests/e2e/test_serve.py",
    "marloft.deploy.release.decisions": "tests/unit/deploy/release/test_write.py",
    "marloft.deploy.release.resolve": "tests/unit/deploy/release/test_write.py",
    "marloft.deploy.supervisor": "needs servers: tests/e2e/test_serve.py",
    "marloft.deploy.torchserve.management": "needs TorchServe: tests/e2e/test_serve.py",
    "marloft.runtimes.onnx": "tests/unit/runtimes/test_runtimes.py",
    "marloft.runtimes.protocol": "tests/unit/runtimes/test_runtimes.py",
    "marloft.runtimes.torchscript": "tests/unit/runtimes/test_runtimes.py",
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
