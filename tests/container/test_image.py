"""The image: built from the Dockerfile as it is, run hardened, and stopped under load."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx2
import psutil
import pytest

from harness import factories
from tests.container.building import IMAGE, build_image, need_tools, run
from tests.e2e.running import Driver, configure, records
from tests.free_ports import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

USER = 10001
LARGEST_BYTES = 1.6e9
DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}}, default: "1.0"}
"""
TWO = [{"item_id": 50}, {"item_id": 3}]
HARDENED = (
    *("--network", "host", "--read-only", "--tmpfs", "/tmp:rw,exec", "--no-healthcheck"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)
PODMAN = ("podman", "--runtime", "runc")


class Container:
    """`marloft serve` in a container on ports of its own; use it as a context manager."""

    def __init__(self, project: Path) -> None:
        self.name = f"marloft-test-{uuid.uuid4().hex[:8]}"
        self.project = project
        self.ports = free_ports()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.ports.gateway}", timeout=30)

    def command(self, *words: str) -> list[str]:
        """Return the words that run a verb of the image, hardened, on the project's folders."""
        mounts = ["--volume", f"{self.project / 'var'}:/srv/marloft/var"]
        for name in ("model_store", "deployment.yaml"):
            mounts += ["--volume", f"{self.project / name}:/srv/marloft/{name}:ro"]
        return [*PODMAN, "run", "--name", self.name, *HARDENED, *mounts, *words]

    def __enter__(self) -> Self:
        offset = str(self.ports.offset)
        options = ("serve", "--host", "127.0.0.1", "--drain-s", "2", "--port-offset", offset)
        run([*self.command("--detach", IMAGE, *options)])
        try:
            self._wait_until_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        subprocess.run([*PODMAN, "rm", "--force", self.name], capture_output=True, check=False)

    def inspect(self, what: str) -> str:
        return run([*PODMAN, "inspect", "--format", f"{{{{{what}}}}}", self.name]).strip()

    def _wait_until_healthy(self, limit_s: float = 90) -> None:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            try:
                if self.client.get("/health").status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError(run([*PODMAN, "logs", self.name]))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    need_tools()
    build_image(tmp_path_factory.mktemp("build"))
    return IMAGE


@pytest.fixture(scope="module")
def project(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed project whose state belongs to the image's user, with its first release."""
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder, torchscript=True)
    configure(folder, DEPLOYMENT)
    (folder / "var").mkdir()
    run(["chown", "-R", str(USER), folder / "var"])
    said = run([*Container(folder).command("--rm", image, "apply")])
    assert "release 1 written" in said
    return folder


@pytest.fixture(scope="module")
def container(project: Path) -> Iterator[Container]:
    with Container(project) as running:
        yield running


def test_image_is_at_most_1_6_gb(image: str) -> None:
    assert int(run(["podman", "inspect", "--format", "{{.Size}}", image])) <= LARGEST_BYTES


def test_image_keeps_nothing_of_the_build(image: str) -> None:
    gone = "! -e /etc/host-pip -a ! -e /etc/pip.conf -a ! -e /build -a ! -e /opt/marloft/bin/pip"
    run([*PODMAN, "run", "--rm", *HARDENED, "--entrypoint", "sh", image, "-c", f"test {gone}"])


def test_health_and_predict_answer_from_a_hardened_container(container: Container) -> None:
    assert container.client.get("/health").json() == {"status": "ok", "model_version": "v1.0"}
    answer = container.client.post("/predict", json={"user_id": 7, "features": TWO}).json()
    assert answer["scores"] == pytest.approx(factories.score(7, [50, 3]), abs=1e-5)


def test_every_process_is_unprivileged(container: Container) -> None:
    first = psutil.Process(int(container.inspect(".State.Pid")))
    family = [first, *first.children(recursive=True)]
    assert {"java", "envoy"} <= {process.name() for process in family}
    assert {process.uids().real for process in family} == {USER}
    for process in family:
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status


def test_root_file_system_cannot_be_written(container: Container) -> None:
    assert container.inspect(".HostConfig.ReadonlyRootfs") == "true"
    options = Path(f"/proc/{container.inspect('.State.Pid')}/mounts").read_text().splitlines()
    (root,) = [line.split()[3] for line in options if line.split()[1] == "/"]
    assert "ro" in root.split(",")


def test_operations_listener_answers_probes_and_scrapes(container: Container) -> None:
    assert container.client.post("/predict", json={"features": TWO}).status_code == 200
    url = f"http://127.0.0.1:{container.ports.operations}"
    assert httpx2.get(f"{url}/ping").json() == {"status": "Healthy"}
    assert "marloft_requests_total{" in httpx2.get(f"{url}/metrics/workers").text
    assert "envoy_marloft_gateway_requests{" in httpx2.get(f"{url}/metrics/gateway").text
    assert "ts_inference_requests_total{" in httpx2.get(f"{url}/metrics/torchserve").text


def test_default_command_passes_the_images_own_health_check(image: str, project: Path) -> None:
    """Ports are the documented ones, hence a network of its own."""
    container = Container(project)
    words = ["none" if word == "host" else word for word in container.command("--detach", image)]
    words.remove("--no-healthcheck")
    try:
        (project / "own").mkdir()
        run(["cp", "-a", project / "var" / "releases", project / "own" / "releases"])
        run(["chown", "-R", str(USER), project / "own"])
        run([word.replace(f"{project / 'var'}:", f"{project / 'own'}:") for word in words])
        deadline = time.monotonic() + 90
        check = [*PODMAN, "healthcheck", "run", container.name]
        assert subprocess.run(check, capture_output=True, check=False).returncode != 0
        while subprocess.run(check, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline, run([*PODMAN, "logs", container.name])
            time.sleep(0.5)
    finally:
        container.__exit__()


def test_stop_under_load_loses_no_request(container: Container, project: Path) -> None:
    """Last in this module: it stops the container, as `docker stop` and a kubelet do."""
    health = f"{container.client.base_url}/health"
    with Driver(container, rate=60) as driver:
        time.sleep(1)
        stopping = subprocess.Popen([*PODMAN, "stop", "--time", "45", container.name])
        deadline = time.monotonic() + 10
        while httpx2.get(health, timeout=2).status_code == 200:
            assert time.monotonic() < deadline, "/health never refused"
            time.sleep(0.05)
        time.sleep(0.5)
    assert stopping.wait(timeout=60) == 0
    assert container.inspect(".State.ExitCode") == "0"
    assert [sent for sent in driver.sent if sent.status != 200] == []
    assert len(driver.sent) > 40
    logged = {record.request_id for record in records(project)}
    assert {sent.request_id for sent in driver.sent} <= logged
