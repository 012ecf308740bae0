import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marloft.deploy.process import ManagedProcess

PR_SET_CHILD_SUBREAPER = 36
# The child ends and leaves a grandchild, as TorchServe's launcher leaves Java.
ORPHAN = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"


class Leaver(ManagedProcess):
    name = "Leaver"
    stop_patience_s = 10.0

    def start(self) -> None:
        self.launch([sys.executable, "-c", ORPHAN], os.environ, self.console.parent)
        deadline = time.monotonic() + 10
        while not self.console.read_text().strip() and time.monotonic() < deadline:
            time.sleep(0.02)


def stop_as_first_process(console: Path) -> None:
    """Be the one who adopts orphans, as the first process of a container is, and stop a child."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    child = Leaver(console)
    child.start()
    time.sleep(0.5)
    started = time.monotonic()
    child.stop()
    sys.stdout.write(f"{time.monotonic() - started}")


def test_stop_does_not_wait_for_orphans_that_have_ended(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tests.unit.deploy.test_process import *; "
        f"stop_as_first_process(Path({str(tmp_path / 'console.log')!r}))"
    )
    folder = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < Leaver.stop_patience_s / 2
    (orphan,) = (tmp_path / "console.log").read_text().split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(orphan), 0)
