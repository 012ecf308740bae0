"""`make demo` on a machine where a step cannot work: one clear line, a code, nothing running."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def test_demo_without_network_says_which_step_failed_and_what_helps(tmp_path: Path) -> None:
    unreachable = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-m", "marloft.demo"],
        cwd=tmp_path,
        env=kept | unreachable | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("demo: step 'data' failed:")
    assert "--path" in line
    assert "Traceback" not in done.stdout + done.stderr
