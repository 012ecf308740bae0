"""Builds the project's image with Debian's own tools, offline but for apt and pip."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from harness.factories import REPOSITORY
from tests.required_programs import missing, program

TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
INSTALL = "apt-get install --no-install-recommends buildah podman runc mmdebstrap"
BASE = "docker.io/library/python:3.11-slim-bookworm"
IMAGE = "localhost/marloft:test"
# What `python:3.11-slim-bookworm` has and the Dockerfile uses; bookworm's Python is 3.11.
_PACKAGES = "ca-certificates,python3,python3-venv"
_PIP_HOME = "/etc/host-pip"


class Volume(NamedTuple):
    """A read-only mount of the build."""

    source: Path
    target: str


def need_tools() -> None:
    """Skip the test where the tools are missing; fail where they are promised."""
    for tool in TOOLS:
        program(tool, INSTALL)
    if os.geteuid() != 0:
        missing("needs root: buildah's chroot isolation and mmdebstrap run as root here")


def run(command: Sequence[str | Path], timeout_s: float = 900) -> str:
    """Run a command and return its output; the end of it is in the failure's message."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{words[0]} {words[1]}:\n{done.stdout[-3000:]}"
    return done.stdout


def build_image(folder: Path) -> None:
    """Build the Dockerfile as it is, from a base image of Debian's packages under its own name."""
    if BASE not in run(["podman", "images", "--format", "{{.Repository}}:{{.Tag}}"]):
        tarball = folder / "base.tar"
        run(["mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", tarball])
        run(["podman", "import", tarball, BASE])
        tarball.unlink()
    command: list[str | Path] = ["buildah", "bud", "--isolation", "chroot", "--format", "docker"]
    command += ["--pull-never", "--layers", "--tag", IMAGE, "--file", "docker/Dockerfile"]
    for volume in pip_volumes(folder, pip_settings()):
        command += ["--volume", f"{volume.source}:{volume.target}:ro"]
    run([*command, "."])


def pip_settings() -> dict[str, str]:
    """Return the options that pip on this machine gets from its files and its environment."""
    lines = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    settings: dict[str, str] = {}
    # The environment's come last, since they win.
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        settings[name.split(".", 1)[1]] = value.strip("'\"").replace("\\n", " ")
    return settings


def pip_volumes(folder: Path, settings: Mapping[str, str]) -> list[Volume]:
    """Return mounts that let pip in the build find packages where this machine's pip does.

    Files are mounted below a path of their own, since one over `/etc/ssl/certs` would hide the
    certificates of the image. Folders keep their path; an index is mounted with its parent,
    because its pages may point beside it.
    """
    mounts: dict[Path, str] = {}
    lines = ["[global]"]
    for name, value in settings.items():
        words = []
        for word in value.split():
            local = _local(word)
            if local is None:
                words.append(word)
            elif local.is_file():
                target = mounts.setdefault(local, f"{_PIP_HOME}/{len(mounts)}")
                words.append(word.replace(str(local), target))
            elif local.is_dir():
                shown = local.parent if "index" in name else local
                mounts.setdefault(shown, str(shown))
                words.append(word)
        if words:
            lines.append(f"{name} = {' '.join(words)}")
    config = folder / "pip.conf"
    config.write_text("\n".join(lines) + "\n")
    mounts[config] = "/etc/pip.conf"
    return [Volume(source.resolve(), target) for source, target in mounts.items()]


def _local(word: str) -> Path | None:
    url = urlsplit(word)
    if url.scheme not in ("", "file") or not url.path.startswith("/"):
        return None
    return Path(url.path)
