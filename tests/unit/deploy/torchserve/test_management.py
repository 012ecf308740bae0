"""What is asked of TorchServe's management API and how its answers read; a server stands in.

Paths, parameters and answers are those of https://pytorch.org/serve/management_api.html.
"""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.deploy.torchserve.management import ManagementApi, RefusedError, Registered
from marloft.errors import ServingError
from tests.unit.deploy.local_server import Answer, Asked, LocalServer, as_json


def worker(number: int, status: str, pid: int = 100) -> dict[str, Any]:
    return {
        "id": str(number),
        "startTime": "2026-01-01T00:00:00.000Z",
        "status": status,
        "memoryUsage": 0,
        "pid": pid,
        "gpu": False,
        "gpuUsage": "N/A",
    }


def described(version: str, *workers: dict[str, Any], wanted: int = 1) -> dict[str, Any]:
    return {
        "modelName": "ranker",
        "modelVersion": version,
        "modelUrl": f"ranker-{version}.mar",
        "runtime": "python",
        "minWorkers": wanted,
        "maxWorkers": wanted,
        "batchSize": 4,
        "maxBatchDelay": 7,
        "responseTimeout": 3,
        "startupTimeout": 90,
        "maxRetryTimeoutInSec": 300,
        "loadedAtStartup": False,
        "workers": list(workers),
        "jobQueueStatus": {"remainingCapacity": 100, "pendingRequests": 0},
    }


class Registry:
    """The models of a TorchServe; the first version of each is its default."""

    def __init__(self, **models: list[dict[str, Any]]) -> None:
        self.models = models
        self.pages: list[list[str]] = [list(models)]

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/models":
            return as_json(self._page(int(asked.query["next_page_token"])))
        _, _, name, *rest = asked.path.split("/")
        versions = self.models[name]
        return as_json(versions if rest == ["all"] else versions[:1])

    def _page(self, number: int) -> dict[str, Any]:
        listed = [{"modelName": name, "modelUrl": "a.mar"} for name in self.pages[number]]
        more = {"nextPageToken": str(number + 1)} if number + 1 < len(self.pages) else {}
        return {**more, "models": listed}


@pytest.fixture
def api(server: LocalServer) -> Iterator[ManagementApi]:
    found = ManagementApi(server.port)
    yield found
    found.close()


def calls(server: LocalServer) -> list[tuple[str, str, dict[str, str]]]:
    return [(asked.method, asked.path, asked.query) for asked in server.asked]


def test_registered_versions_are_as_torchserve_describes_them(
    server: LocalServer, api: ManagementApi
) -> None:
    running = described("1.0", worker(9000, "READY", 11), worker(9001, "READY", 12), wanted=2)
    starting = described("2.0", worker(9002, "UNLOADED", -1))
    server.answer = Registry(ranker=[running, starting]).answer
    assert api.registered() == {
        ("ranker", "1.0"): Registered(
            state="ready",
            default=True,
            min_workers=2,
            batch_size=4,
            max_batch_delay_ms=7,
            startup_s=90,
            workers={"9000": 11, "9001": 12},
            ready_processes=frozenset({11, 12}),
        ),
        ("ranker", "2.0"): Registered(
            state="starting",
            default=False,
            min_workers=1,
            batch_size=4,
            max_batch_delay_ms=7,
            startup_s=90,
            workers={"9002": -1},
        ),
    }


def test_every_page_of_the_list_is_read_and_each_model_asked_once(
    server: LocalServer, api: ManagementApi
) -> None:
    one = [described("1.0", worker(9000, "READY"))]
    registry = Registry(ranker=one, outcomes=one, feed_ab__assign=one)
    # TorchServe lists a model once for each version.
    registry.pages = [["ranker", "ranker"], ["ranker", "outcomes"], ["feed_ab__assign"]]
    server.answer = registry.answer
    assert list(api.registered()) == [
        ("ranker", "1.0"),
        ("outcomes", "1.0"),
        ("feed_ab__assign", "1.0"),
    ]
    asked = [(path, query) for _, path, query in calls(server)]
    assert asked[:3] == [
        ("/models", {"limit": "100", "next_page_token": token}) for token in ("0", "1", "2")
    ]
    assert [path for path, _ in asked[3:]] == [
        "/models/ranker/all",
        "/models/ranker",
        "/models/outcomes/all",
        "/models/outcomes",
        "/models/feed_ab__assign/all",
        "/models/feed_ab__assign",
    ]


def test_a_torchserve_without_models_has_none(server: LocalServer, api: ManagementApi) -> None:
    server.answer = Registry().answer
    assert api.registered() == {}


def test_version_is_ready_when_all_its_wanted_workers_are(
    server: LocalServer, api: ManagementApi
) -> None:
    cases: list[tuple[list[str], int, str]] = [
        (["READY"], 1, "ready"),
        (["READY", "READY"], 2, "ready"),
        (["READY", "UNLOADED"], 2, "starting"),
        (["READY", "UNLOADED"], 1, "ready"),
        (["UNLOADED"], 1, "starting"),
        ([], 1, "starting"),
        ([], 0, "starting"),
        (["READY"], 0, "ready"),
    ]
    versions = [
        described(f"{number}.0", *(worker(9000, status) for status in statuses), wanted=wanted)
        for number, (statuses, wanted, _) in enumerate(cases)
    ]
    server.answer = Registry(ranker=versions).answer
    states = [registered.state for registered in api.registered().values()]
    assert states == [state for _, _, state in cases]


def test_register_starts_the_workers_and_does_not_wait_for_them(
    server: LocalServer, api: ManagementApi
) -> None:
    server.answer = lambda _: as_json({"status": "Processing worker updates..."}, 202)
    settings = WorkerSettings(workers=2, batch_size=4, max_batch_delay_ms=7)
    api.register("ranker-1.0.mar", settings)
    parameters = {
        "url": "ranker-1.0.mar",
        "batch_size": "4",
        "max_batch_delay": "7",
        "initial_workers": "2",
        "synchronous": "false",
    }
    assert calls(server) == [("POST", "/models", parameters)]


def test_changes_are_asked_of_one_version(server: LocalServer, api: ManagementApi) -> None:
    server.answer = lambda _: as_json({"status": "done"})
    api.scale("ranker", "1.0", 3)
    api.set_default("ranker", "1.0")
    api.unregister("ranker", "1.0")
    scaled = {"min_worker": "3", "max_worker": "3", "synchronous": "false"}
    assert calls(server) == [
        ("PUT", "/models/ranker/1.0", scaled),
        ("PUT", "/models/ranker/1.0/set-default", {}),
        ("DELETE", "/models/ranker/1.0", {}),
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            as_json({"code": 404, "type": "ModelNotFoundException", "message": "No ranker."}, 404),
            "No ranker.",
        ),
        (Answer(body="<html>" + "x" * 300, status=502), "502 <html>" + "x" * 194),
        (as_json({"code": 500}, 500), '500 {"code":500}'),
    ],
    ids=["torchserve's own words", "no JSON", "no message"],
)
def test_refusal_says_what_torchserve_says(
    server: LocalServer, api: ManagementApi, answer: Answer, said: str
) -> None:
    server.answer = lambda _: answer
    with pytest.raises(RefusedError) as caught:
        api.unregister("ranker", "1.0")
    assert str(caught.value) == f"TorchServe refused DELETE /models/ranker/1.0: {said}"


@pytest.mark.parametrize("gone", [True, False], ids=["nobody listens", "hangs up"])
def test_torchserve_that_gives_no_answer_has_refused_nothing(
    server: LocalServer, api: ManagementApi, gone: bool
) -> None:
    server.answer = lambda _: None
    if gone:
        server.close()
    with pytest.raises(ServingError, match=r"^TorchServe does not answer GET /models: ") as caught:
        api.registered()
    assert not isinstance(caught.value, RefusedError)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1, 2]", b'"models"', b'{"models": 3}'])
def test_answer_that_is_no_list_of_models_is_an_error_of_serving(
    server: LocalServer, api: ManagementApi, body: bytes
) -> None:
    server.answer = lambda _: Answer(body=body)
    with pytest.raises(ServingError, match=r"TorchServe (answers GET /models without|lists its)"):
        api.registered()


@pytest.mark.parametrize("body", [b"[1, 2]", b"3", b"not JSON"])
def test_refusal_in_another_form_is_told_as_it_is(
    server: LocalServer, api: ManagementApi, body: bytes
) -> None:
    server.answer = lambda _: Answer(body=body, status=500)
    with pytest.raises(RefusedError, match="500 "):
        api.registered()


def test_silence_is_an_error_after_the_time_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:
        api = ManagementApi(hung.getsockname()[1], answer_s=0.1)
        with pytest.raises(ServingError, match="does not answer GET /models"):
            api.registered()
        api.close()
