"""The demo waits for its own release, and says why none comes."""

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from marloft.contract.release import release_path, releases_folder
from marloft.demo import Demo
from marloft.demo import serving as demo_serving
from marloft.demo.serving import wait_until_live
from marloft.errors import StepError
from marloft.files import write_json
from tests.releases import made_release


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    """A demo whose newest release is 2."""
    monkeypatch.chdir(tmp_path)
    demo = Demo(0, Console(file=(tmp_path / "screen").open("w"), width=80))
    for number in (1, 2):
        write_json(release_path(releases_folder(demo.var), number), made_release({}, number))
    return demo


def screen(demo: Demo) -> str:
    demo.console.file.close()
    return Path("screen").read_text()


def test_line_of_the_newest_release_is_shown(demo: Demo) -> None:
    lines = "[0.1 s] release 1 is live: a\n[0.2 s] release 2 is live: b\n"
    demo.serve_log.write_text(lines)
    wait_until_live(demo)
    assert screen(demo).strip() == "[0.2 s] release 2 is live: b"


def test_server_that_ended_is_an_error_with_its_last_line(demo: Demo) -> None:
    demo.serve_log.write_text("starting\nport 8080 is in use\n")
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"]) as child:
        child.wait()
        with pytest.raises(StepError, match="ended with code 2: port 8080 is in use"):
            wait_until_live(demo, child)
    demo.console.file.close()


def test_release_that_never_comes_is_an_error(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_serving, "READY_S", 0.2)
    demo.serve_log.write_text("release 1 is live\n")
    with pytest.raises(StepError, match=r"no 'release 2 is live' in 0\.2 s"):
        wait_until_live(demo)
    demo.console.file.close()
