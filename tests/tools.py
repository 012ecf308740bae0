"""Programs that pip does not bring: a test without its one skips with the cure, or fails in CI."""

import os
import shutil

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
    """Return the program's path; skip the test when it is missing, fail if `$REQUIRE` is 1."""
    package, names = _PACKAGES[name]
    found = next((path for each in names if (path := shutil.which(each))), None)
    if found is not None:
        return found
    reason = f"{name} is not installed: apt-get install {package}"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(reason)
    pytest.skip(reason)
