"""The command line's surface: its verbs, and help that says what, how and where to read on."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.factories import REPOSITORY
from marloft.cli import app

VERBS = [
    "adopt",
    "apply",
    "card",
    "data fetch",
    "data prepare",
    "demo",
    "experiment analyze",
    "experiment assign",
    "experiment design",
    "experiment size",
    "fairness audit",
    "gc",
    "golden record",
    "history",
    "inspect",
    "keys new",
    "list",
    "log export",
    "log forget",
    "log stat",
    "log tail",
    "metrics",
    "new",
    "pack",
    "plan",
    "promote",
    "pull",
    "push",
    "rollback",
    "schema infer",
    "schema show",
    "serve",
    "sign",
    "status",
    "trace",
    "verify",
]


def verbs(command: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, child in getattr(command, "commands", {}).items():
        found |= verbs(child, f"{prefix}{name} ") or {f"{prefix}{name}": child}
    return found


COMMANDS = verbs(typer.main.get_command(app))


def test_the_verbs_are_these() -> None:
    assert sorted(COMMANDS) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_a_sentence_an_example_and_where_to_read_on(verb: str) -> None:
    text = COMMANDS[verb].help or ""
    assert f"Example: marloft {verb}" in text
    (page,) = re.findall(r"Read on: (\S+\.md)\.", text)
    assert (REPOSITORY / page).is_file()
    assert all(getattr(option, "help", "") for option in COMMANDS[verb].params)


def test_unknown_verb_is_a_users_mistake() -> None:
    assert CliRunner().invoke(app, ["serv"]).exit_code == 2


def test_make_help_lists_every_target() -> None:
    lines = Path(REPOSITORY / "Makefile").read_text().splitlines()
    (phony,) = [line for line in lines if line.startswith(".PHONY:")]
    described = {line.split(":")[0] for line in lines if re.match(r"[a-z0-9-]+:.*##", line)}
    assert described == set(phony.split()[1:])
