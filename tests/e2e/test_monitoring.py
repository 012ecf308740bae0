"""Real Prometheus and Alertmanager over `marloft serve`: series per arm, and an alert that arrives.

The rules are the project's own; the copy used here differs in durations alone, so that a minute's
patience does not cost the test a minute.
"""

import contextlib
import http.server
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from harness.factories import REPOSITORY, write_project
from marloft.contract import metric_names as names
from marloft.contract.records import OUTCOMES_FOLDER
from marloft.deploy.ports import Ports
from tests.e2e.running import Serving, configure, marloft, two_arms
from tests.required_programs import tool

pytestmark = pytest.mark.e2e

# No golden request has it, or the version would be refused.
PLANTED = 55
DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}, "1.1": {}}, default: "1.0", experiment: feed.yaml}
"""
FAULT = f"""\
        if {PLANTED} in request.column("item_id"):
            raise RuntimeError("planted")
"""
FEATURES = [{"item_id": 50}, {"item_id": 3}]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions in an experiment; the handler fails on one item."""
    folder = write_project(tmp_path_factory.mktemp("project"))
    handler = folder / "handlers" / "ranker.py"
    start = "        items = np.array(request.column"
    assert start in handler.read_text()
    handler.write_text(handler.read_text().replace(start, FAULT + start, 1))
    one = (folder / "archive_configs" / "ranker_v1.yaml").read_text()
    for config in (folder / "archive_configs").glob("*.yaml"):
        config.unlink()
    (folder / "archive_configs" / "one.yaml").write_text(one)
    two = one.replace('version: "1.0"', 'version: "1.1"')
    (folder / "archive_configs" / "two.yaml").write_text(two)
    (folder / "feed.yaml").write_text(two_arms("feed", 100))
    configure(folder, DEPLOYMENT)
    marloft(folder, "apply")
    return folder


@pytest.fixture(scope="module")
def serving(project: Path) -> Iterator[Serving]:
    with Serving(project) as running:
        yield running


@pytest.fixture(scope="module")
def traffic(serving: Serving, project: Path) -> dict[str, int]:
    """Ask for 40 users, every fourth twice with a fault; click on the first item of each answer."""
    arms = {"control": 0, "treatment": 0}
    clicks = []
    for user in range(40):
        answer = serving.predict(user_id=user, features=FEATURES).json()
        arms[answer["experiment"]["arm"]] += 1
        clicks.append(click(answer["request_id"], answer["prediction"][0]))
        if user % 4 == 0:
            serving.predict(user_id=user, features=[{"item_id": PLANTED}])
    path = project / "var" / OUTCOMES_FOLDER / "test.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in clicks))
    return arms


def click(request_id: str, item: int) -> dict[str, Any]:
    time_now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record = {"schema": 1, "time": time_now, "request_id": request_id}
    return record | {"item_id": item, "event": "click", "value": None}


class Inbox:
    """An HTTP server that keeps what Alertmanager posts to it."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        inbox = self

        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                inbox.alerts += json.loads(body)["alerts"]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    found = Inbox()
    yield found
    found.server.shutdown()
    found.server.server_close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
    return number


def in_a_hurry(text: str) -> str:
    """Shorten every `for`, nothing else."""
    changed, count = re.subn(r"^(\s+for:) \S+$", r"\1 2s", text, flags=re.MULTILINE)
    assert count == 6
    return changed


def shifted(text: str, ports: Ports, alertmanager: int) -> str:
    """Point the project's prometheus.yml at this test's ports, and let it look every second."""
    moved = {
        9102: ports.exporter,
        9103: ports.supervisor,
        9901: ports.envoy_admin,
        8082: ports.metrics,
    }
    for port, actual in (moved | {9093: alertmanager}).items():
        assert f"127.0.0.1:{port}" in text
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{actual}")
    return text.replace("interval: 15s", "interval: 1s")


@pytest.fixture(scope="module")
def prometheus(
    serving: Serving, inbox: Inbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Prometheus and Alertmanager on copies of the project's files; the address of the first."""
    programs = (tool("prometheus"), tool("alertmanager"))
    folder, source = tmp_path_factory.mktemp("monitoring"), REPOSITORY / "monitoring"
    port, alertmanager = free_port(), free_port()
    (folder / "rules").mkdir()
    rules = (source / "rules" / "alerts.yaml").read_text()
    (folder / "rules" / "alerts.yaml").write_text(in_a_hurry(rules))
    config = shifted((source / "prometheus.yml").read_text(), serving.ports, alertmanager)
    (folder / "prometheus.yml").write_text(config)
    routing = (source / "alertmanager.yml").read_text()
    routing = routing.replace("127.0.0.1:9099", f"127.0.0.1:{inbox.port}")
    for patience in ("group_wait: 10s", "group_interval: 1m"):
        assert patience in routing
        routing = routing.replace(patience, f"{patience.split(':')[0]}: 1s")
    (folder / "alertmanager.yml").write_text(routing)
    commands = [
        [
            *(programs[0], f"--config.file={folder}/prometheus.yml"),
            *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"),
        ],
        [
            *(programs[1], f"--config.file={folder}/alertmanager.yml"),
            *(f"--storage.path={folder}/alerts", "--cluster.listen-address="),
            f"--web.listen-address=127.0.0.1:{alertmanager}",
        ],
    ]
    with (folder / "console.log").open("wb") as console:
        children = [
            subprocess.Popen(command, stdout=console, stderr=subprocess.STDOUT)
            for command in commands
        ]
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{url}/-/ready"), 30, (folder / "console.log").read_text)
        until(
            lambda: answers(f"http://127.0.0.1:{alertmanager}/-/ready"),
            30,
            (folder / "console.log").read_text,
        )
        yield url
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(timeout=30)


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


def until(true: Callable[[], bool], limit_s: float, otherwise: Callable[[], object]) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.3)


def series(prometheus: str, expression: str) -> list[tuple[dict[str, str], float]]:
    answer = httpx2.get(f"{prometheus}/api/v1/query", params={"query": expression}, timeout=5)
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]["result"]
    return [(each["metric"], float(each["value"][1])) for each in found]


def by(label: str, prometheus: str, expression: str) -> dict[str, float]:
    return {labels.get(label, ""): value for labels, value in series(prometheus, expression)}


def expect(prometheus: str, label: str, expression: str, wanted: dict[str, float]) -> None:
    """Wait until the next scrapes have it."""
    until(
        lambda: by(label, prometheus, expression) == pytest.approx(wanted),
        30,
        lambda: (expression, by(label, prometheus, expression), wanted),
    )


def test_torchserve_alone_counts_requests_and_failures_by_version(
    serving: Serving, traffic: dict[str, int]
) -> None:
    def sums(name: str, label: str) -> dict[str, float]:
        text = httpx2.get(f"http://127.0.0.1:{serving.ports.metrics}/metrics").text
        lines = re.findall(rf'^{name}{{.*?{label}="([\d.]+)".*}} (\S+)$', text, re.MULTILINE)
        return {version: float(value) for version, value in lines}

    # Its numbers pass through the worker's standard output.
    until(
        lambda: sum(sums(names.TORCHSERVE_FAILURES, "ModelVersion").values()) == 10,
        10,
        lambda: sums(names.TORCHSERVE_FAILURES, "ModelVersion"),
    )
    requests = sums(names.TORCHSERVE_REQUESTS, "model_version")
    assert set(requests) == {"1.0", "1.1"}
    assert sum(requests.values()) >= 50


def test_prometheus_scrapes_every_part(prometheus: str) -> None:
    expect(prometheus, "job", "up", {"workers": 1, "serve": 1, "gateway": 1, "torchserve": 1})


def test_gateway_counts_and_times_requests_by_arm(prometheus: str, traffic: dict[str, int]) -> None:
    good = f'sum by (arm) ({names.GATEWAY_REQUESTS}{{code="200"}})'
    expect(prometheus, "arm", good, {arm: float(count) for arm, count in traffic.items()})
    failed = f'sum({names.GATEWAY_REQUESTS}{{code="500"}})'
    expect(prometheus, "", failed, {"": 10})
    quantile = f"histogram_quantile(0.99, sum by (arm, le) ({names.GATEWAY_LATENCY}_bucket))"
    until(lambda: len(by("arm", prometheus, quantile)) == 2, 30, lambda: series(prometheus, "up"))
    assert all(0 < value < 10e6 for value in by("arm", prometheus, quantile).values())


def test_clients_own_labels_are_not_counted(serving: Serving, prometheus: str) -> None:
    forged = {
        "x-marloft": "release=9;version=9.9",
        "x-marloft-v": "9.9",
        "x-marloft-arm": "forged",
        "x-user-id": "refused by the gateway",
    }
    answer = serving.client.post("/predict", json={"features": FEATURES}, headers=forged)
    assert answer.status_code == 400
    admin = f"http://127.0.0.1:{serving.ports.envoy_admin}/stats/prometheus?usedonly"
    assert "forged" not in httpx2.get(admin).text


def test_workers_count_by_version_and_error(prometheus: str, traffic: dict[str, int]) -> None:
    good = f'sum by (version) ({names.REQUESTS}{{status="2xx"}})'
    wanted = {"1.0": float(traffic["control"]), "1.1": float(traffic["treatment"])}
    expect(prometheus, "version", good, wanted)
    expect(prometheus, "error", f"sum by (error) ({names.ERRORS})", {"RuntimeError": 10})
    expect(prometheus, "", f"sum({names.LOG_FAILURES})", {"": 0})


def test_live_quality_has_each_arm_with_its_clicks(
    prometheus: str, traffic: dict[str, int]
) -> None:
    # Each answer showed two items, and the first was clicked.
    expect(prometheus, "role", names.CTR, {"control": 0.5, "treatment": 0.5})
    shown = {arm: 2.0 * count for arm, count in traffic.items()}
    expect(prometheus, "arm", names.SHOWN_ITEMS, shown)
    assert set(by("arm", prometheus, names.ACCURACY)) == {"control", "treatment"}


def test_panels_are_drawn_from_prometheus(
    serving: Serving, prometheus: str, traffic: dict[str, int], tmp_path: Path
) -> None:
    # A rate needs two scrapes with the requests between them.
    for user in range(20):
        serving.predict(user_id=user, features=FEATURES)
    time.sleep(8)
    script = REPOSITORY / "monitoring" / "render.py"
    out = tmp_path / "serving.png"
    command = [sys.executable, script, "--prometheus", prometheus, "--minutes", "2", "--out", out]
    # The deployment serves rankers alone.
    command += ["--response", "ranking"]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "no data" not in done.stdout, done.stdout


def test_no_alert_while_all_is_well_but_the_planted_errors(prometheus: str) -> None:
    firing = {
        labels["alertname"] for labels, _ in series(prometheus, 'ALERTS{alertstate="firing"}')
    }
    assert firing <= {"MarloftErrorsHigh"}


def test_exporter_that_ended_is_started_again(serving: Serving) -> None:
    exporter = child_of(serving, "metrics")
    exporter.send_signal(signal.SIGKILL)
    serving.wait_for("The metrics exporter: ended")
    until(lambda: answers(f"http://127.0.0.1:{serving.ports.exporter}/metrics"), 30, str)
    assert serving.predict(features=FEATURES).status_code == 200


def test_killing_torchserve_fires_the_alert_and_the_webhook_gets_it(
    serving: Serving, prometheus: str, inbox: Inbox
) -> None:
    """The last test: it ends what the others need."""

    def told() -> set[str]:
        return {
            alert["labels"]["job"]
            for alert in inbox.alerts
            if alert["labels"]["alertname"] == "MarloftTargetDown" and alert["status"] == "firing"
        }

    def told_while_it_is_killed_again() -> bool:
        # It is back within three seconds, sooner than the alert's patience; each further end makes
        # the pause before its next start longer.
        with contextlib.suppress(AssertionError, psutil.NoSuchProcess):
            child_of(serving, "java").send_signal(signal.SIGKILL)
        return "torchserve" in told()

    assert "torchserve" not in told()
    until(told_while_it_is_killed_again, 60, lambda: inbox.alerts)
    (alert, *_) = (a for a in inbox.alerts if a["labels"]["alertname"] == "MarloftTargetDown")
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["runbook_url"].startswith("monitoring/runbook.md#")


def child_of(serving: Serving, word: str) -> psutil.Process:
    """The process below `marloft serve` whose command holds the word."""
    for process in psutil.Process(serving.process.pid).children(recursive=True):
        command = process.cmdline()
        if any(word == part or part.endswith(f"/{word}") for part in command):
            return process
    raise AssertionError(f"no {word} below marloft serve")
