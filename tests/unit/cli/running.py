"""What the tests of the command line say: a verb as it is typed, and the smallest deployment."""

from collections.abc import Callable

from typer.testing import CliRunner

from marloft.cli import app

PLAIN = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}}, default: "1.0"}
"""
# Runs a verb as the command does; returns what it printed and asserts its exit status.
Marloft = Callable[..., str]


def invoke(*arguments: object) -> tuple[int, str]:
    """Run a verb; return its exit code, 1 for any error, and what it printed."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout
