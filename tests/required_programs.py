"""Programs that pip does not bring: a test without its one skips with the cure, or fails in CI."""

import os
import shutil
import sys
from pathlib import Path

import pytest

REQUIRE = "MARLOFT_REQUIRE_TOOLS"
# Debian's names: its packages call Alertmanager `prometheus-alertmanager`.
_PACKAGES = {
    "prometheus": ("prometheus", ("prometheus",)),
    "promtool": ("prometheus", ("promtool",)),
    "alertmanager": (
        "prometheus-alertmanager",
        ("prometheus-alertmanager", "alertmanager"),
    ),
    "amtool": ("prometheus-alertmanager", ("amtool",)),
}


def tool(name: str) -> str:
    """Return the path of a program of one of Debian's packages, or skip as `missing` does."""
    package, names = _PACKAGES[name]
    found = next((path for each in names if (path := shutil.which(each))), None)
    return found or missing(f"{name} is not installed: apt-get install {package}")


def program(name: str, cure: str) -> str:
    """Return the path of a program, beside this Python or on PATH, or skip as `missing` does."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    return found or missing(f"needs {name}: {cure}")


def missing(reason: str) -> str:
    """Skip the test for `reason`, or fail it where all tools are promised (`$REQUIRE` is 1)."""
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(reason)
    pytest.skip(reason)
