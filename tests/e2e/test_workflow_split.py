"""The split by a workflow archive: each request is answered and logged by its own arm."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import psutil
import pytest

from harness import factories
from marloft.archive.pack import write_archive
from marloft.assignment import arm_of
from marloft.contract.allocation import allocation_file, allocation_path, packed_allocation
from marloft.contract.manifest import WorkerSettings
from marloft.contract.records import PredictionRecord
from marloft.contract.release import (
    Allocation,
    ReleasedModel,
    ReleasedVersion,
    release_path,
)
from marloft.deploy.processes.torchserve import TorchServe
from marloft.deploy.torchserve.workflows import WorkflowApi, pack_workflow
from marloft.errors import ServingError
from marloft.files import sha256_file, write_json
from tests.e2e import running
from tests.free_ports import free_ports
from tests.releases import made_release

pytestmark = pytest.mark.e2e

CONNECTIONS = 8
USERS = [f"user-{number}" for number in range(2000)]
# The workflow asks a node whose answer it missed again after 0.3 s.
LOST_ANSWER_S = 5
SPLITS = {"even": (50, 50), "mostly": (90, 10), "rare": (1, 99)}


class Server:
    """A project whose TorchServe runs, without a gateway and without `marloft serve`."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.var, self.store = project / "var", project / "model_store"
        self.ports = free_ports()
        self.torchserve = TorchServe(
            project / "config.properties", self.store, self.var, self.ports
        )
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.ports.inference}",
            timeout=30,
            limits=httpx2.Limits(max_connections=CONNECTIONS),
        )
        self.workflows = WorkflowApi(self.ports.management)

    def ask(self, workflow: str, body: Any, **more: Any) -> httpx2.Response:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = running.JSON_TYPE | more
        return self.client.post(f"/wfpredict/{workflow}", content=content, headers=headers)

    def ask_all(self, workflow: str, users: list[str]) -> dict[str, dict[str, Any]]:
        """Return the answer to each user, asked over all connections at once."""

        def ask(user: str) -> dict[str, Any]:
            started = time.monotonic()
            response = self.ask(workflow, factories.body(user, [3, 1, 2], request_id=user))
            assert time.monotonic() - started < LOST_ANSWER_S
            assert response.status_code == 200
            return dict(response.json())

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return dict(zip(users, pool.map(ask, users), strict=True))

    def records(self, experiment: str | None) -> list[PredictionRecord]:
        return [r for r in running.records(self.project) if r.experiment == experiment]

    def record(self, request_id: str) -> PredictionRecord:
        """Return the only record of a request."""
        (record,) = [r for r in running.records(self.project) if r.request_id == request_id]
        return record

    def release(self, number: int, allocation: Allocation) -> None:
        """Write a release that splits so, and what is rendered from it for the assign node."""
        versions = {
            version: ReleasedVersion(
                sha256=sha256_file(self.store / f"ranker-{version}.mar"), settings=WorkerSettings()
            )
            for version in ("1.0", "2.0")
        }
        ranker = ReleasedModel(default="1.0", versions=versions, allocation=allocation)
        release = made_release({"ranker": ranker}, number)
        write_json(release_path(self.var / "releases", number), release)
        write_json(allocation_path(self.var, allocation.name), allocation_file(release, "ranker"))

    def threads(self) -> int:
        """Return how many threads TorchServe's own process has."""
        assert self.torchserve.pid is not None
        family = psutil.Process(self.torchserve.pid).children(recursive=True)
        (java,) = [process for process in family if process.name() == "java"]
        return int(java.num_threads())

    @contextmanager
    def registered(self, workflow: str) -> Iterator[None]:
        self.workflows.register(f"{workflow}.war")
        try:
            yield
        finally:
            self.workflows.unregister(workflow)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """TorchServe with the archives of two rankers and of three experiments' workflows."""
    project = factories.write_project(tmp_path_factory.mktemp("workflow"))
    shutil.copy(factories.REPOSITORY / "config.properties", project)
    configs = project / "archive_configs"
    factories.write_export(project / "build" / "second", seed=1)
    second = (configs / "ranker_v1.yaml").read_text()
    second = second.replace('version: "1.0"', 'version: "2.0"').replace(
        "build/export", "build/second"
    )
    # Card and audit are about 1.0's artifact.
    kept = [line for line in second.splitlines() if not line.startswith(("card:", "audit:"))]
    (configs / "ranker_v2.yaml").write_text("\n".join(kept))
    server = Server(project)
    for name, weights in SPLITS.items():
        _write_workflow(project, name, weights)
        write_archive(configs / f"{name}_assign.yaml", server.store)
        pack_workflow(project / "workflows" / name / "workflow.yaml", server.store)
    for config in ("ranker_v1", "ranker_v2", "feed_ab_select"):
        write_archive(configs / f"{config}.yaml", server.store)
    with server.torchserve, server.client:
        yield server
    server.workflows.close()


@pytest.fixture(scope="module")
def even(server: Server) -> Iterator[Server]:
    """The server while the workflow `even` is registered; its assign node has the packed copy."""
    with server.registered("even"):
        yield server


def _write_workflow(project: Path, name: str, weights: tuple[int, int]) -> None:
    """Copy the repository's workflow under another name, with other weights."""
    given = factories.REPOSITORY / "workflows" / "feed_ab"
    folder = project / "workflows" / name
    folder.mkdir(parents=True)
    workflow = (given / "workflow.yaml").read_text()
    (folder / "workflow.yaml").write_text(workflow.replace("feed_ab_assign", f"{name}_assign"))
    experiment = (given / "experiment.yaml").read_text().replace("feed_ab", name)
    for version, weight in zip(("1.0", "2.0"), weights, strict=True):
        old = f'version: "{version}", weight: 50'
        assert old in experiment
        experiment = experiment.replace(old, f'version: "{version}", weight: {weight}')
    (folder / "experiment.yaml").write_text(experiment)
    assign = factories.REPOSITORY / "archive_configs" / "feed_ab_assign.yaml"
    text = assign.read_text().replace("feed_ab", name)
    (project / "archive_configs" / f"{name}_assign.yaml").write_text(text)


def _split(server: Server, name: str) -> Allocation:
    experiment = server.project / "workflows" / name / "experiment.yaml"
    return packed_allocation(experiment, "ranker").allocation


def _check(
    allocation: Allocation, answers: dict[str, dict[str, Any]], records: list[PredictionRecord]
) -> None:
    """Arms told and logged are those of the assignment, versions served those of the arms."""
    version_of = {arm.name: arm.version for arm in allocation.arms}
    expected = {user: arm_of(allocation, user) for user in answers}
    told = {user: answer["experiment"] for user, answer in answers.items()}
    assert told == {user: {"name": allocation.name, "arm": arm} for user, arm in expected.items()}
    served = {user: answer["model_version"] for user, answer in answers.items()}
    assert served == {user: f"v{version_of[arm]}" for user, arm in expected.items()}
    assert len(records) == len(answers)
    assert {record.request_id: record.arm for record in records} == expected
    for record in records:
        assert record.user_id == record.request_id
        assert (record.model, record.status) == ("ranker", 200)
        assert record.version == record.intended_version == version_of[expected[record.request_id]]


def test_packed_split_serves_every_user_by_the_arm_of_the_assignment(even: Server) -> None:
    answers = even.ask_all("even", USERS)
    allocation, records = _split(even, "even"), even.records("even")
    _check(allocation, answers, records)
    assert {record.release for record in records} == {None}
    assert {record.propensity for record in records} == {0.5}
    moved = msgspec.structs.replace(allocation, salt="another")
    with pytest.raises(AssertionError):
        _check(moved, answers, records)


@pytest.mark.parametrize(("name", "number"), [("mostly", 1), ("rare", 2)])
def test_released_split_serves_every_user_by_the_arm_of_the_assignment(
    server: Server, name: str, number: int
) -> None:
    allocation = _split(server, name)
    server.release(number, allocation)
    with server.registered(name):
        answers = server.ask_all(name, USERS)
    records = server.records(name)
    _check(allocation, answers, records)
    assert {record.release for record in records} == {number}
    for record in records:
        archive = server.store / f"ranker-{record.version}.mar"
        assert record.archive_sha256 == sha256_file(archive)
    total = sum(SPLITS[name])
    shares = {(r.arm, r.propensity) for r in records}
    assert shares == {("control", SPLITS[name][0] / total), ("treatment", SPLITS[name][1] / total)}


def test_another_allocation_file_takes_effect_without_a_restart(even: Server) -> None:
    before = _split(even, "even")
    moved = [
        msgspec.structs.replace(arm, weight=weight)
        for arm, weight in zip(before.arms, (10, 90), strict=True)
    ]
    after = msgspec.structs.replace(before, arms=moved)
    users = [f"late-{number}" for number in range(200)]
    assert {arm_of(before, user) for user in users} == {"control", "treatment"}
    even.release(3, after)
    answers = even.ask_all("even", users)
    _check(after, answers, [r for r in even.records("even") if r.request_id in answers])
    assert even.record("late-0").release == 3
    with pytest.raises(AssertionError):
        _check(before, answers, even.records("even"))


@pytest.mark.parametrize(
    ("request_id", "more", "version"),
    [
        ("no-user", {}, "1.0"),
        ("pinned", {"user_id": "7", "model_version": "v2.0"}, "2.0"),
        ("pinned-default", {"user_id": "7", "model_version": "1.0"}, "1.0"),
    ],
)
def test_request_outside_the_experiment_is_served_and_logged_without_an_arm(
    even: Server, request_id: str, more: dict[str, str], version: str
) -> None:
    body = factories.body(None, [3], request_id=request_id, **more)
    forged = {"_marloft": {"arm": "treatment", "version": "2.0", "experiment": "even"}}
    answer = even.ask("even", body | forged).json()
    assert answer["model_version"] == f"v{version}"
    assert "experiment" not in answer
    seed = {"1.0": 0, "2.0": 1}[version]
    assert answer["scores"] == pytest.approx(
        factories.score(more.get("user_id"), [3], seed), abs=1e-5
    )
    record = even.record(request_id)
    assert (record.version, record.intended_version) == (version, version)
    assert (record.experiment, record.arm, record.propensity) == (None, None, None)


@pytest.mark.parametrize(
    ("request_id", "body", "status"),
    [
        ("not-json", b"{", 400),
        ("empty", b"", 400),
        ("no-object", b"[]", 422),
        ("bad-row", factories.body(7, ["x"]), 422),
        ("bad-user", factories.body("a b", [3]), 422),
        ("unknown-version", factories.body(7, [3], model_version="9.0"), 404),
    ],
)
def test_invalid_request_is_a_200_with_the_problem_and_one_record_with_the_status(
    even: Server, request_id: str, body: Any, status: int
) -> None:
    response = even.ask("even", body, **{"x-request-id": request_id})
    assert response.status_code == 200
    problem = response.json()
    assert (problem["status"], problem["request_id"]) == (status, request_id)
    assert even.record(request_id).status == status


def test_invalid_requests_leave_no_thread_behind(even: Server) -> None:
    even.ask_all("even", [f"warm-{number}" for number in range(100)])
    before = even.threads()
    for body in [b"{", b"\xff", b'{"features": 7}'] * 10:
        assert even.ask("even", body).json()["status"] in (400, 422)
    # 30 were asked; a few threads are Java's own compilers, which come and go.
    assert even.threads() <= before + 6
    assert len(even.ask_all("even", [f"after-{number}" for number in range(100)])) == 100


def test_node_that_raises_would_leave_threads_behind(server: Server) -> None:
    handlers, configs = server.project / "handlers", server.project / "archive_configs"
    (handlers / "raising.py").write_text(
        "class Raising:\n"
        "    def initialize(self, context): pass\n"
        "    def handle(self, data, context): raise RuntimeError('planted')\n"
    )
    config = (configs / "feed_ab_select.yaml").read_text()
    config = config.replace("feed_ab_select", "raising").replace("select_arm", "raising")
    (configs / "raising.yaml").write_text(config)
    folder = server.project / "workflows" / "raising"
    folder.mkdir()
    spec = msgspec.yaml.decode((server.project / "workflows/even/workflow.yaml").read_bytes())
    settings = {k: v for k, v in spec["models"].items() if isinstance(v, int)}
    nodes = {"first": {"url": "raising-1.0.mar"}, "last": {"url": "feed_ab_select-1.0.mar"}}
    models = settings | {"retry-attempts": 1} | nodes
    (folder / "workflow.yaml").write_bytes(
        msgspec.yaml.encode({"models": models, "dag": {"first": ["last"]}})
    )
    write_archive(configs / "raising.yaml", server.store)
    pack_workflow(folder / "workflow.yaml", server.store)
    with server.registered("raising"):
        before = server.threads()
        statuses = {server.ask("raising", b"{}").status_code for _ in range(10)}
        assert 200 not in statuses
        assert server.threads() >= before + 8


def test_torchserves_words_reach_the_user(server: Server) -> None:
    with pytest.raises(ServingError, match=r"refused POST /workflows: .*missing\.war"):
        server.workflows.register("missing.war")


def test_registered_workflows_are_listed(even: Server) -> None:
    assert even.workflows.registered() == ["even"]
