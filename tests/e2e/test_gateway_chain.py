"""The gateway by itself: a real Envoy in front of an upstream that says what it received."""

import contextlib
import http.client
import json
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import xxhash

from marloft.contract.parameters import MAX_NAMES_CHARACTERS
from marloft.contract.predict_api import RouteFacts, parse_route_header
from marloft.contract.release import Release
from marloft.deploy.gateway.acceptance import Acceptance, last_refusal
from marloft.deploy.gateway.bootstrap import envoy_command, render_bootstrap
from marloft.deploy.gateway.clusters import render_clusters
from marloft.deploy.gateway.counts import GatewayCounts, Series, Traffic
from marloft.deploy.gateway.discovery_files import CLUSTERS_FILE, discovery_response, write_file
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.ports import Ports
from tests.e2e.clients import send_slowly
from tests.free_ports import free_ports

pytestmark = pytest.mark.e2e

JSON = {"content-type": "application/json"}
# Slow, so that it has room for 32 requests: one batch that runs and one that waits.
ANSWER_S = {("outcomes", "1.0"): 2.0}
SPLITS = {"ranker": (50, 50), "ninety": (90, 10), "canary": (1, 99)}


class Answer(NamedTuple):
    """One HTTP answer; `json` is the decoded body."""

    status: int
    headers: dict[str, str]
    json: Any

    @property
    def told(self) -> Any:
        """The route facts that the upstream received."""
        return parse_route_header(self.json["headers"].get("x-marloft"))

    @property
    def version(self) -> str:
        """The version in the path that the upstream received."""
        return str(self.json["path"].rsplit("/", 1)[1])


class EchoHandler(BaseHTTPRequestHandler):
    """Answers with what it received; the header `x-act` makes it misbehave."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", 0))
        body = self.rfile.read(size).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        server = self.server
        assert isinstance(server, Upstream)
        server.seen[headers["x-request-id"]] += 1
        server.received.append(headers)
        act = server.probe_act if "probe=1" in headers["x-marloft"] else headers.get("x-act")
        echo = {"path": self.path, "method": self.command, "headers": headers, "body": body}
        if act == "hang up":
            self.close_connection = True
            return
        if act == "hang":
            time.sleep(1.5)
        if act in ("fail", "fail once") and not (
            act == "fail once" and server.seen[headers["x-request-id"]] > 1
        ):
            self._send(500, {"code": 500, "message": "Worker died."}, "application/json")
        elif act == "handler failed":
            problem = {"title": "Internal Server Error", "status": 500, "detail": "handler"}
            self._send(500, problem, "application/problem+json", {"x-envoy-ratelimited": "1"})
        elif act == "log full":
            problem = {"title": "Log unavailable", "status": 503, "detail": "disk"}
            marks = {"x-envoy-ratelimited": "1", "x-marloft-cause": "log"}
            self._send(503, problem, "application/problem+json", marks)
        elif act == "queue full":
            self._send(503, {"type": "ServiceUnavailableException"}, "application/json")
        elif act == "no model":
            self._send(404, {"type": "ModelVersionNotFoundException"}, "application/json")
        else:
            self._send(200, echo, "application/json")

    do_GET = do_POST  # noqa: N815

    def _send(
        self, status: int, value: Any, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        every = {"content-type": kind, "content-length": str(len(data)), **(headers or {})}
        # TorchServe answers with a request id of its own.
        for name, text in (every | {"x-request-id": "upstream-own"}).items():
            self.send_header(name, text)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet."""


class Upstream(ThreadingHTTPServer):
    """Stands where TorchServe's inference API does; counts tries by request id."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), EchoHandler)
        self.seen: Counter[str] = Counter()
        self.received: list[dict[str, str]] = []
        self.probe_act: str | None = None


class Gateway:
    """A running Envoy with its folder and its upstream."""

    def __init__(self, ports: Ports, folder: Path, upstream: Upstream) -> None:
        self.ports, self.upstream = ports, upstream
        self.routes_file = folder / "routes" / "routes.json"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Answer:
        link = connection or self.connect()
        data = body if body is None or isinstance(body, bytes | str) else json.dumps(body)
        link.request(method, path, data, JSON if headers is None else headers)
        response = link.getresponse()
        text = response.read()
        names = {name.lower(): value for name, value in response.getheaders()}
        if connection is None:
            link.close()
        return Answer(response.status, names, json.loads(text) if text else None)

    def post(self, body: Any, path: str = "/predict", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body, JSON | named)

    def connect(self) -> http.client.HTTPConnection:
        link = http.client.HTTPConnection("127.0.0.1", self.ports.gateway, timeout=20)
        link.connect()
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def counter(self, name: str) -> int:
        """Return one of Envoy's counters."""
        link = http.client.HTTPConnection("127.0.0.1", self.ports.envoy_admin, timeout=5)
        link.request("GET", f"/stats?format=json&filter={name}")
        stats = json.loads(link.getresponse().read())["stats"]
        link.close()
        return sum(entry["value"] for entry in stats if "value" in entry)


def model(weights: tuple[int, int] | None, name: str = "feed_ab") -> dict[str, Any]:
    version = {"sha256": "0" * 64, "settings": {}}
    allocation = weights and {
        "name": name,
        "salt": f"{name}_{weights[0]}",
        "unit": "user_id",
        "arms": [
            {"name": "control", "version": "1.0", "weight": weights[0]},
            {"name": "treatment", "version": "2.0", "weight": weights[1]},
        ],
    }
    versions = {"1.0": version, "2.0": version, "10.0": version}
    return {"default": "1.0", "versions": versions, "allocation": allocation}


def lens() -> dict[str, Any]:
    """A split model whose versions take different parameters, with names as long as may be.

    Envoy limits the size of regular expressions and takes none of a file with a larger one.
    """
    asked = model((50, 50))
    names = ["language", "top_k", *(f"{letter:_<60}" for letter in "abcdefg")]
    last = "h" * (MAX_NAMES_CHARACTERS - sum(map(len, names)))
    declared = {"1.0": ["top_k"], "2.0": ["language", "top_k"], "10.0": [*names[2:], last]}
    asked["versions"] = {
        version: facts | {"parameters": declared[version]}
        for version, facts in asked["versions"].items()
    }
    return asked


def release(number: int = 7, weights: tuple[int, int] | None = (50, 50)) -> Release:
    models: dict[str, Any] = {name: model(split) for name, split in SPLITS.items()}
    models |= {"ranker": model(weights), "outcomes": model(None)}
    models["rolling"] = model((50, 50), "rollout-2.0")
    models["lens"] = lens()
    models["metered"] = model((50, 50)) | {"limits": {"per_client_per_s": 5}}
    models["single"] = model(None)
    models["single"]["versions"] = {"1.0": models["single"]["versions"]["1.0"]}
    models["capped"] = model(None) | {"limits": {"requests_per_s": 5}}
    facts = {"release": number, "time": "", "actor": "", "reason": "", "default_model": "ranker"}
    return msgspec.convert(facts | {"models": models}, Release)


@contextlib.contextmanager
def running_gateway(
    folder: Path, change: Callable[[Any], object] = lambda _: None
) -> Iterator[Gateway]:
    """Start upstream and Envoy on free ports; `change` may spoil the bootstrap first."""
    ports = free_ports()
    upstream = Upstream(ports.inference)
    gateway = Gateway(ports, folder, upstream)
    clusters = render_clusters(release().models, ANSWER_S, ports.inference)
    write_file(gateway.routes_file.with_name(CLUSTERS_FILE), clusters)
    write_file(gateway.routes_file, render_routes(release()))
    config = folder / "envoy.json"
    bootstrap = json.loads(
        render_bootstrap(ports, gateway.routes_file, max_body_bytes=200_000),
    )
    change(bootstrap)
    config.write_text(json.dumps(bootstrap))
    thread = threading.Thread(target=upstream.serve_forever, daemon=True)
    thread.start()
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(envoy_command(config, concurrency=1), stderr=log)
    try:
        wait_for(lambda: gateway.ask("GET", "/health").status == 200)
        yield gateway
    finally:
        process.terminate()
        process.wait(timeout=10)
        upstream.shutdown()
        upstream.server_close()
        thread.join()


def wait_for(condition: Any, timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with tempfile.TemporaryDirectory() as folder, running_gateway(Path(folder)) as running:
        yield running


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway for tests that change the routes."""
    with running_gateway(tmp_path) as running:
        yield running


def refusal(answer: Answer) -> tuple[int, str]:
    """Check that the answer is a problem document; return its status and detail."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    assert answer.json["title"]
    return answer.status, answer.json["detail"]


@pytest.mark.parametrize("name", SPLITS)
def test_split_equals_xxhash_for_2000_users(gateway: Gateway, name: str) -> None:
    link, wanted = gateway.connect(), []
    path, weights = f"/models/{name}/predict", SPLITS[name]
    got = []
    for user in range(2000):
        answer = gateway.ask("POST", path, {"user_id": user}, JSON, link)
        got.append((answer.told.arm, answer.version, answer.told.version))
        salted = f"feed_ab_{weights[0]}:{user}"
        treated = xxhash.xxh64_intdigest(salted.encode(), seed=0) % sum(weights) >= weights[0]
        wanted.append(("treatment", "2.0", "2.0") if treated else ("control", "1.0", "1.0"))
    link.close()
    assert got == wanted
    assert len(set(got)) == 2


def test_version_check_sees_a_path_without_its_version(own_gateway: Gateway) -> None:
    spoiled = json.loads(render_routes(release(8)))
    spoiled["resources"][0]["request_headers_to_remove"].append("x-marloft-v")
    write_file(own_gateway.routes_file, json.dumps(spoiled).encode())
    wait_for(lambda: own_gateway.post({}).told.release == 8)
    answer = own_gateway.post({"user_id": 7})
    assert (answer.version, answer.told.version) == ("", "2.0")


def test_split_takes_7_and_text_7_and_the_header_7_as_one_unit(gateway: Gateway) -> None:
    answers = [
        gateway.post({"user_id": 7}),
        gateway.post({"user_id": "7"}),
        gateway.post({}, x_user_id="7"),
        gateway.post({"user_id": 7}, x_user_id="8"),
    ]
    assert {answer.json["headers"]["x-marloft-unit"] for answer in answers} == {"7"}
    assert len({answer.told.arm for answer in answers}) == 1


def test_request_without_user_goes_to_the_default_outside_the_experiment(gateway: Gateway) -> None:
    answers = [gateway.post(body) for body in ({}, {"user_id": None}) for _ in range(10)]
    assert {(a.version, a.told.version, a.told.experiment) for a in answers} == {
        ("1.0", "1.0", None)
    }


def test_rollout_splits_requests_without_user_at_random(gateway: Gateway) -> None:
    served = Counter(gateway.post({}, "/models/rolling/predict").version for _ in range(60))
    assert set(served) == {"1.0", "2.0"}


@pytest.mark.parametrize("version", ["2.0", "v2.0", "10.0"])
@pytest.mark.parametrize("place", ["body", "header"])
def test_pinned_version_is_served_outside_the_experiment(
    gateway: Gateway, version: str, place: str
) -> None:
    if place == "body":
        answer = gateway.post({"user_id": 7, "model_version": version})
    else:
        answer = gateway.post({"user_id": 7}, x_model_version=version)
    assert answer.version == answer.told.version == version.removeprefix("v")
    assert (answer.told.release, answer.told.arm) == (7, None)


@pytest.mark.parametrize("version", ["3.0", "1.00", "v", "1a0", 2.0, "../x"])
def test_unknown_version_is_404_with_those_that_exist(gateway: Gateway, version: Any) -> None:
    status, detail = refusal(gateway.post({"model_version": version}))
    assert status == 404
    assert detail.endswith("ranker has: v1.0, v2.0, v10.0.")


def test_unknown_version_in_the_header_is_404(gateway: Gateway) -> None:
    assert refusal(gateway.post({}, x_model_version="3.0"))[0] == 404


def test_unknown_version_in_the_body_is_404_whatever_the_header_says(gateway: Gateway) -> None:
    assert refusal(gateway.post({"model_version": "3.0"}, x_model_version="1.0"))[0] == 404


def test_contradicting_headers_reach_the_handler_that_refuses_them(gateway: Gateway) -> None:
    answer = gateway.post({"model_version": "1.0", "user_id": 7}, x_user_id="8")
    assert answer.json["headers"]["x-user-id"] == "8"
    answer = gateway.post({"model_version": "1.0"}, x_model_version="2.0")
    assert (answer.json["headers"]["x-model-version"], answer.version) == ("2.0", "1.0")


def test_unknown_model_is_404_with_those_that_exist(gateway: Gateway) -> None:
    answer = gateway.post({}, "/models/ranked/predict")
    assert refusal(answer) == (
        404,
        "This model is not deployed; there are: canary, capped, lens, metered, ninety, "
        "outcomes, ranker, rolling, single.",
    )


@pytest.mark.parametrize("path", ["/", "/predictions/ranker", "/models", "/predict/", "/ping"])
def test_unknown_path_is_404(gateway: Gateway, path: str) -> None:
    assert refusal(gateway.post({}, path))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/predict", "POST"), ("DELETE", "/outcomes", "POST"), ("POST", "/health", "GET")],
)
def test_other_method_is_405_with_allow(
    gateway: Gateway, method: str, path: str, allowed: str
) -> None:
    answer = gateway.ask(method, path, "{}")
    assert refusal(answer)[0] == 405
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/nowhere", 404),
        ("POST", "/models/ranked/predict", 404),
        ("PUT", "/predict", 405),
        ("POST", "/health", 405),
        ("POST", "/predict", 422),
    ],
)
def test_body_of_what_nobody_answers_is_not_read(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    # Where the body is read, an id of another form decides.
    assert refusal(gateway.ask(method, path, {"user_id": "a b"}, JSON))[0] == status


@pytest.mark.parametrize("kind", [{}, {"content-type": "text/plain"}])
def test_other_content_type_is_415(gateway: Gateway, kind: dict[str, str]) -> None:
    answer = gateway.ask("POST", "/predict", "{}", kind)
    assert refusal(answer) == (415, "Content-Type must be application/json.")


def test_content_type_may_have_parameters_and_any_case(gateway: Gateway) -> None:
    kind = {"content-type": "Application/JSON; charset=utf-8"}
    answer = gateway.ask("POST", "/predict", {"model_version": "2.0"}, kind)
    assert answer.version == "2.0"


def test_body_over_the_limit_is_413(gateway: Gateway) -> None:
    assert refusal(gateway.post({"features": "x" * 200_000}))[0] == 413
    assert gateway.post({"features": "x" * 190_000}).status == 200


@pytest.mark.parametrize("body", ["{", '{"a": NaN}', '{"user_id": 9223372036854775808}', "{} x"])
def test_body_that_the_gateway_cannot_read_is_400(gateway: Gateway, body: str) -> None:
    status, detail = refusal(gateway.post(body))
    assert status == 400
    assert "not JSON" in detail


@pytest.mark.parametrize("path", ["/predict?body=x", "/health?x=1"])
def test_query_parameters_are_400(gateway: Gateway, path: str) -> None:
    method = "GET" if "health" in path else "POST"
    assert refusal(gateway.ask(method, path, "{}"))[0] == 400


LENS = "/models/lens/predict"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?top_k=5&language=de", "?top_k=5&language=de"),
        ("?top_k=5#", None),
        ("?language=a%20b+c%0d%0ax-evil:%201", "?language=a%20b+c%0d%0ax-evil:%201"),
        ("?language=%26body=x&top_k=5", "?language=%26body=x&top_k=5"),
        ("?language=a?top_k=b=c", "?language=a?top_k=b=c"),
        ("", ""),
    ],
)
def test_declared_query_reaches_the_worker_as_it_was_sent(
    gateway: Gateway, query: str, said: str | None
) -> None:
    answer = gateway.post({"user_id": 7}, LENS + query)
    if said is None:
        assert refusal(answer) == (
            400,
            "The URL has a fragment; percent-encode the # if it belongs to a value, else drop it.",
        )
        return
    assert answer.status == 200
    assert answer.json["headers"]["x-marloft-query"] == LENS + said
    assert answer.json["path"].partition("?")[0].startswith("/predictions/lens/")
    assert "x-evil" not in answer.json["headers"]
    assert json.loads(answer.json["body"]) == {"user_id": 7}


@pytest.mark.parametrize(
    ("body", "version"),
    [({"model_version": "10.0"}, "10.0"), ({}, "1.0"), ({"user_id": 7}, None)],
)
def test_query_survives_every_kind_of_route(
    gateway: Gateway, body: dict[str, Any], version: str | None
) -> None:
    answer = gateway.post(body, LENS + "?top_k=5")
    assert answer.json["headers"]["x-marloft-query"] == f"{LENS}?top_k=5"
    assert answer.told.arm is not None if version is None else answer.told.version == version


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?body=x", "language=…&top_k=…"),
        ("?data=x&top_k=5", "language=…&top_k=…"),
        ("?top_k=5&body=x", "may hold these parameters only"),
        ("?top_k=5;body=x", "may hold"),
        ("?top%5Fk=5", "may hold"),
        ("?bod%79=x", "may hold"),
        ("?TOP_K=5", "may hold"),
        ("?x-marloft=version=9.0", "may hold"),
        ("?", "may hold"),
        ("?top_k", "may hold"),
        ("?=5", "may hold"),
        ("?top_k=5&", "may hold"),
        ("?&top_k=5", "may hold"),
        ("?top_k=%zz", "may hold"),
        ("?top_k=5&top_k=5", "top_k is given twice in the query; give it once."),
        ("?top_k=5&language=a&top_k=6", "top_k is given twice"),
        ("?language=" + "a" * 792, "more than 800 characters"),
        ("?language=" + "a" * 8192, "more than 800 characters"),
    ],
)
def test_any_other_query_is_400_with_what_is_allowed_and_reaches_no_worker(
    gateway: Gateway, query: str, words: str
) -> None:
    gateway.upstream.received.clear()
    status, detail = refusal(gateway.post({"user_id": 7}, LENS + query))
    assert status == 400
    assert words in detail
    assert gateway.upstream.received == []


def test_longest_query_passes_and_a_clients_own_copy_does_not(gateway: Gateway) -> None:
    query = "?language=" + "a" * 791
    answer = gateway.post({}, LENS + query, x_marloft_query="/predict?top_k=9")
    assert answer.json["headers"]["x-marloft-query"] == LENS + query
    plain = gateway.post({}, x_marloft_query="/predict?top_k=9")
    assert "x-marloft-query" not in plain.json["headers"]


def test_broken_json_with_a_query_is_said_to_be_that(gateway: Gateway) -> None:
    status, detail = refusal(gateway.post("{", LENS + "?top_k=5"))
    assert status == 400
    assert "not JSON" in detail


def test_headers_of_parameters_pass(gateway: Gateway) -> None:
    assert gateway.post({}, x_parameter_top_k="5").json["headers"]["x-parameter-top-k"] == "5"


@pytest.mark.parametrize("field", ["user_id", "request_id"])
@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\0b", "a b", "é", "a" * 129])
def test_id_of_bad_form_is_422_and_reaches_no_worker(
    gateway: Gateway, field: str, value: str
) -> None:
    gateway.upstream.received.clear()
    answer = gateway.post({field: value})
    assert refusal(answer)[0] == 422
    assert answer.json["errors"][0]["pointer"] == f"/{field}"
    assert "x-evil" not in answer.headers
    assert gateway.upstream.received == []


def test_line_break_in_an_id_splits_the_response_without_the_form_check(tmp_path: Path) -> None:
    def drop_form_check(bootstrap: Any) -> None:
        chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
        filters = chain["typed_config"]["http_filters"]
        filters[:] = [each for each in filters if each["name"] != "envoy.filters.http.rbac"]

    with running_gateway(tmp_path, drop_form_check) as unchecked:
        answer = unchecked.post({"request_id": "a\r\nx-evil: 1"})
        assert answer.headers["x-evil"] == "1"


def test_id_of_128_plain_characters_passes(gateway: Gateway) -> None:
    answer = gateway.post({"user_id": "A" * 128, "request_id": "z._:@-9"})
    assert answer.json["headers"]["x-marloft-unit"] == "A" * 128


@pytest.mark.parametrize("name", ["x-user-id", "x-request-id"])
def test_id_header_of_bad_form_is_400(gateway: Gateway, name: str) -> None:
    status, detail = refusal(gateway.ask("POST", "/predict", {}, JSON | {name: "a b"}))
    assert (status, name in detail) == (400, True)


def test_client_cannot_set_the_gateways_own_headers(gateway: Gateway) -> None:
    answer = gateway.post(
        {},
        x_marloft="release=1;arm=treatment",
        X_Marloft_Unit="7",
        x_marloft_v="2.0",
        x_marloft_other="1",
        x_envoy_attempt_count="9",
        x_envoy_upstream_rq_timeout_ms="1",
    )
    seen = {k: v for k, v in answer.json["headers"].items() if k.startswith(("x-mar", "x-env"))}
    facts = parse_route_header(seen.pop("x-marloft"))
    assert facts.arrived_s is not None
    assert abs(facts.arrived_s - time.time()) < 10
    assert msgspec.structs.replace(facts, arrived_s=None) == RouteFacts(
        release=7, version="1.0", limit_s=21
    )
    assert seen == {"x-marloft-v": "1.0", "x-envoy-attempt-count": "1"}


def test_headers_that_no_worker_reads_are_dropped(gateway: Gateway) -> None:
    answer = gateway.post({}, user_agent="x", accept="*/*", cookie="a=b", sec_fetch_mode="cors")
    assert set(answer.json["headers"]) == {
        *("host", "content-type", "content-length", "x-request-id"),
        *("x-envoy-attempt-count", "x-marloft", "x-marloft-v"),
    }


@pytest.mark.parametrize(
    ("body", "header", "wanted"),
    [("mine", "theirs", "mine"), (None, "theirs", "theirs"), ("mine", None, "mine")],
)
def test_request_id_is_the_bodys_else_the_headers(
    gateway: Gateway, body: str | None, header: str | None, wanted: str
) -> None:
    headers = JSON | ({"x-request-id": header} if header else {})
    answer = gateway.ask("POST", "/predict", {"request_id": body}, headers)
    assert answer.json["headers"]["x-request-id"] == answer.headers["x-request-id"] == wanted


def test_request_id_is_made_when_none_is_given(gateway: Gateway) -> None:
    answers = [gateway.post({}) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert {len(text) for text in ids} == {36}
    assert ids == {answer.json["headers"]["x-request-id"] for answer in answers}


def test_refusal_carries_the_request_id(gateway: Gateway) -> None:
    answer = gateway.post({"model_version": "3.0", "request_id": "mine"})
    assert answer.headers["x-request-id"] == "mine"


def test_server_error_is_retried_with_the_same_request_id(gateway: Gateway) -> None:
    answer = gateway.post({"user_id": 7, "request_id": "again"}, x_act="fail once")
    assert answer.status == 200
    assert answer.json["headers"]["x-envoy-attempt-count"] == "2"
    assert gateway.upstream.seen["again"] == 2
    tries = [h for h in gateway.upstream.received if h["x-request-id"] == "again"]
    assert len({(h["x-marloft"], h["x-marloft-v"]) for h in tries}) == 1


def test_server_error_after_all_retries_is_a_503_problem(gateway: Gateway) -> None:
    answer = gateway.post({"request_id": "dead"}, x_act="fail")
    assert refusal(answer)[0] == 503
    assert answer.headers["retry-after"] == "1"
    assert gateway.upstream.seen["dead"] == 5


def test_failure_marked_by_the_handler_is_passed_on_without_retry(gateway: Gateway) -> None:
    answer = gateway.post({"request_id": "marked"}, x_act="handler failed")
    assert refusal(answer) == (500, "handler")
    assert gateway.upstream.seen["marked"] == 1
    assert "x-envoy-ratelimited" not in answer.headers


def test_time_in_the_route_header_is_that_of_the_last_byte(gateway: Gateway) -> None:
    link = gateway.connect()
    link.putrequest("POST", "/predict")
    for name, value in (JSON | {"content-length": "2"}).items():
        link.putheader(name, value)
    link.endheaders()
    time.sleep(0.3)
    sent_s = time.time()
    link.send(b"{}")
    told = parse_route_header(json.loads(link.getresponse().read())["headers"]["x-marloft"])
    link.close()
    assert told.arrived_s is not None
    assert told.arrived_s >= sent_s - 0.001


def test_counts_tell_whose_doing_the_end_of_a_request_was(gateway: Gateway) -> None:
    # Histograms show at a flush, once a second: those of earlier requests have to be there.
    time.sleep(1.5)
    counts = GatewayCounts(gateway.ports.envoy_admin)
    counts.read_new()
    gone = gateway.connect()
    gone.request("POST", "/predict", b"{}", JSON | {"x-act": "hang"})
    time.sleep(0.2)
    gone.close()
    acts = ("log full", "queue full", "fail", "hang up")
    answers = [gateway.post({}, x_act=act) for act in acts]
    assert [send_slowly(gateway.ports.gateway, 1.0) for _ in range(2)] == [200, 200]
    found = Traffic()

    def is_counted() -> bool:
        nonlocal found
        found = sum((counts.read_new() or {}).values(), found)
        return found.timed >= 3

    wait_for(is_counted)
    counts.close()
    assert [answer.headers.get("x-marloft-cause") for answer in answers] == [
        *("log", "queue", None, None),
    ]
    assert (found.answered, found.errors, found.refused, found.excluded) == (3, 1, 1, 3)
    # Neither what was sent slowly is slow, nor are there times of what nobody answered.
    assert (found.timed, found.slower(1000)) == (3, 0)
    assert "non-number" not in (gateway.routes_file.parents[1] / "envoy.log").read_text()


def test_torchserves_own_404_is_hidden(gateway: Gateway) -> None:
    assert refusal(gateway.post({}, x_act="no model"))[0] == 503


def test_outcomes_go_to_the_outcomes_model(gateway: Gateway) -> None:
    answer = gateway.post({"request_id": "r1", "item_id": 3, "event": "click"}, "/outcomes")
    assert answer.json["path"] == "/predictions/outcomes/1.0"
    assert json.loads(answer.json["body"])["event"] == "click"


def test_health_probes_the_default_version(gateway: Gateway) -> None:
    answer = gateway.ask("GET", "/health", headers={})
    assert (answer.status, answer.version) == (200, "1.0")
    assert answer.told.probe


@pytest.mark.parametrize("act", ["fail", "hang", "no model", "handler failed"])
def test_health_is_a_503_problem_within_a_second_when_the_worker_fails(
    gateway: Gateway, act: str
) -> None:
    gateway.upstream.probe_act = act
    begin = time.monotonic()
    try:
        answer = gateway.ask("GET", "/health", headers={})
    finally:
        gateway.upstream.probe_act = None
    assert refusal(answer)[0] == 503
    assert answer.headers["retry-after"] == "1"
    assert time.monotonic() - begin < 2


def test_new_route_file_takes_effect_under_load_without_a_failure(own_gateway: Gateway) -> None:
    releases: list[tuple[int, Any]] = []
    done = threading.Event()

    def ask_all_the_time() -> None:
        link = own_gateway.connect()
        while not done.is_set():
            answer = own_gateway.ask("POST", "/predict", {"user_id": 7}, JSON, link)
            same = answer.status == 200 and answer.version == answer.told.version
            releases.append((answer.status, answer.told.release if same else answer))
        link.close()

    threads = [threading.Thread(target=ask_all_the_time) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(8, 14):
        weights = (number, 100 - number)
        write_file(own_gateway.routes_file, render_routes(release(number, weights)))
        wait_for(lambda number=number: releases[-1:] == [(200, number)])
    done.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in releases} == {200}
    assert {number for _, number in releases} == set(range(7, 14))


def test_broken_route_file_keeps_the_old_split_and_is_not_in_force(own_gateway: Gateway) -> None:
    before = own_gateway.post({"user_id": 7})
    with contextlib.closing(Acceptance(own_gateway.ports.envoy_admin)) as acceptance:
        assert acceptance.look({"routes": own_gateway.routes_file.read_bytes()})["routes"].taken
        spoiled = json.loads(render_routes(release(8)))["resources"]
        spoiled[0]["virtual_hosts"][0]["routes"].append({"match": {}})
        broken = discovery_response("8", spoiled)
        write_file(own_gateway.routes_file, broken)
        log = own_gateway.routes_file.parents[1] / "envoy.log"
        wait_for(lambda: "update rejected" in last_refusal(log))
        assert not acceptance.look({"routes": broken})["routes"].taken
    write_file(own_gateway.routes_file, b'{"version_info": "8", "resources": [{"broken": ')
    wait_for(lambda: own_gateway.counter("gateway.rds.marloft.update_failure") == 1)
    wait_for(lambda: "Unable to parse JSON" in last_refusal(log))
    after = own_gateway.post({"user_id": 7})
    assert (after.status, after.version, after.told.release) == (200, before.version, 7)
    write_file(own_gateway.routes_file, render_routes(release(9)))
    wait_for(lambda: own_gateway.post({}).told.release == 9)


def test_version_that_is_not_ready_answers_503(own_gateway: Gateway) -> None:
    write_file(own_gateway.routes_file, render_routes(release(8), [("ranker", "2.0")]))
    wait_for(lambda: own_gateway.post({}).told.release == 8)
    answer = own_gateway.post({"model_version": "2.0"})
    assert refusal(answer) == (503, "ranker v2.0 is not ready; try again.")
    assert answer.headers["retry-after"] == "1"
    assert {own_gateway.post({"user_id": user}).told.arm for user in range(20)} == {None}


def test_more_than_a_version_can_answer_is_refused_at_once_and_not_tried(
    gateway: Gateway,
) -> None:
    before = gateway.upstream.seen.copy()
    counts = GatewayCounts(gateway.ports.envoy_admin)
    counts.read_new()
    with ThreadPoolExecutor(80) as pool:
        asked = [
            pool.submit(gateway.ask, "POST", "/outcomes", {}, JSON | {"x-act": "hang"})
            for _ in range(80)
        ]
        time.sleep(0.7)
        # Others, probes among them, do not wait behind them.
        began = time.monotonic()
        assert gateway.post({}).status == 200
        assert gateway.ask("GET", "/health").status == 200
        late = gateway.ask("POST", "/outcomes", {}, JSON | {"x-act": "hang"})
        quick_s = time.monotonic() - began
        answers = [each.result() for each in asked]
    assert quick_s < 0.7, "they were answered while the slow ones were under way"
    said = "More requests than outcomes can answer in time; this one was refused at once, "
    assert refusal(late) == (503, said + "try again later.")
    assert late.headers["retry-after"] == "1"
    statuses = Counter(each.status for each in answers)
    assert statuses == {200: 32, 503: 48}
    counted = counts.read_new() or {}
    counts.close()
    found = counted[Series(model="outcomes", version="1.0")]
    assert (found.answered, found.errors, found.refused) == (32, 0, 0)
    assert counted[Series(model="outcomes", version="")].refused == 49, "of the model: a flood"
    tried = gateway.upstream.seen - before
    ids = [each.headers["x-request-id"] for each in answers if each.status == 503]
    assert not set(ids) & set(tried)
    assert gateway.post({}, "/outcomes").status == 200, "back to normal"


def test_more_than_all_versions_can_answer_is_refused_before_its_body_is_parsed(
    gateway: Gateway,
) -> None:
    def ask(_: int) -> Answer:
        return gateway.ask("POST", "/models/single/predict", {}, JSON | {"x-act": "hang"})

    blocked = "adaptive_concurrency.gradient_controller.rq_blocked"
    before = gateway.counter(blocked)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert Counter(each.status for each in answers) == {200: 32, 503: 18}
    refused = next(each for each in answers if each.status == 503)
    said = "More requests than single can answer in time; this one was refused at once, "
    assert refusal(refused) == (503, said + "try again later.")
    assert refused.headers["retry-after"] == "1"
    assert gateway.counter(blocked) - before == 18


@pytest.mark.parametrize("name", ["metered", "capped"])
def test_more_than_a_models_limit_is_429_and_counts_for_all_its_routes(
    gateway: Gateway, name: str
) -> None:
    link, path = gateway.connect(), f"/models/{name}/predict"
    requests = [({"user_id": 7}, JSON), ({"model_version": "2.0"}, JSON)]
    requests.append(({}, JSON | {"x-model-version": "v1.0", "x-forwarded-for": "10.0.0.1"}))
    answers = [gateway.ask("POST", path, body, headers, link) for body, headers in requests * 6]
    link.close()
    statuses = Counter(each.status for each in answers)
    assert set(statuses) == {200, 429}
    assert 5 <= statuses[200] < 15, "some tokens come back meanwhile"
    refused = next(each for each in answers if each.status == 429)
    said = f"More requests in a second than {name} takes from one client or from all of them; "
    assert refusal(refused) == (429, said + "send them more slowly.")
    assert refused.headers["retry-after"] == "1"
    assert {gateway.ask("GET", "/health").status for _ in range(8)} == {200}
    assert {gateway.post({}).status for _ in range(8)} == {200}, "other models have other limits"


def test_limit_is_each_clients_own(gateway: Gateway) -> None:
    def ask(address: str) -> int:
        link = http.client.HTTPConnection(
            "127.0.0.1", gateway.ports.gateway, timeout=20, source_address=(address, 0)
        )
        answer = gateway.ask("POST", "/models/metered/predict", {}, JSON, link)
        link.close()
        return answer.status

    assert 429 in [ask("127.0.0.2") for _ in range(20)]
    assert ask("127.0.0.3") == 200


def test_upstream_that_is_gone_is_a_503_problem(own_gateway: Gateway) -> None:
    own_gateway.upstream.shutdown()
    own_gateway.upstream.server_close()
    answer = own_gateway.post({}, x_act="hang up")
    assert refusal(answer)[0] == 503
    assert answer.headers["retry-after"] == "1"
    assert "refused" not in json.dumps(answer.json)
