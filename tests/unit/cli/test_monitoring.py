"""`marloft metrics`: it serves until it is interrupted, and ends with 0."""

import signal
import subprocess
from pathlib import Path

import httpx2
import pytest

from harness.serving import MARLOFT
from tests.free_ports import free_ports

pytestmark = pytest.mark.slow


def test_metrics_are_served_until_ctrl_c(tmp_path: Path) -> None:
    ports = free_ports()
    command = [MARLOFT, "metrics", "--port-offset", str(ports.offset), "--var", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        url = f"http://127.0.0.1:{ports.exporter}/metrics"
        assert line == f"metrics at {url}\n"
        assert httpx2.get(url).status_code == 200
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 0
