"""Programs that only some tests need: found, or the test is skipped with the cure."""

import os
import shutil
import sys
from pathlib import Path

import pytest

REQUIRE_ENV = "MARLOFT_REQUIRE_TOOLS"


def program(name: str, cure: str) -> str:
    """Return the path of a program, beside this Python or on PATH.

    Without it the test is skipped with `cure` as its reason; where `MARLOFT_REQUIRE_TOOLS` is set
    it fails, so that CI cannot pass by missing its tools.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    return found or missing(f"needs {name}: {cure}")


def missing(reason: str) -> str:
    """Skip the test for `reason`, or fail it where all tools are promised."""
    if os.environ.get(REQUIRE_ENV):
        pytest.fail(reason)
    pytest.skip(reason)
