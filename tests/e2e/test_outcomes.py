"""`POST /outcomes`: through Envoy and TorchServe, a 202 means one line in the log."""

import concurrent.futures
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from harness import factories
from marloft.logs.read import open_log
from tests.e2e.running import (
    JSON_TYPE,
    Driver,
    Serving,
    configure,
    marloft,
    outcome_records,
    records,
)
from tests.file_modes import open_to_others

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}}, default: "1.0"}
  outcomes: {versions: {"1.0": {max_batch_delay_ms: 50}}, default: "1.0"}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outcomes")
    factories.write_project(folder, torchscript=True)
    configure(folder, DEPLOYMENT)
    marloft(folder, "apply")
    return folder


@pytest.fixture(scope="module")
def serving(project: Path) -> Iterator[Serving]:
    with Serving(project) as running:
        yield running


def outcome(request_id: str, **fields: Any) -> dict[str, Any]:
    return {"request_id": request_id, "item_id": 50, "event": "click", **fields}


def tell(serving: Serving, body: dict[str, Any]) -> httpx2.Response:
    return serving.client.post("/outcomes", json=body)


@pytest.mark.parametrize("value", ["benign", True, 3])
def test_label_of_a_whole_answer_is_accepted_and_logged(
    serving: Serving, project: Path, value: Any
) -> None:
    request_id = f"labelled-{value}"
    response = tell(serving, {"request_id": request_id, "event": "label", "value": value})
    assert (response.status_code, response.json()) == (202, {"status": "accepted"})
    (record,) = [r for r in outcome_records(project) if r.request_id == request_id]
    assert (record.item_id, record.event, record.value) == (None, "label", value)
    assert type(record.value) is type(value)


def test_outcome_of_an_answer_is_accepted_logged_and_joined(
    serving: Serving, project: Path
) -> None:
    answer = serving.predict(user_id=7, features=[{"item_id": 50}, {"item_id": 3}]).json()
    shown = answer["prediction"][0]
    response = tell(serving, outcome(answer["request_id"], item_id=shown, value=1.5))
    assert (response.status_code, response.json()) == (202, {"status": "accepted"})
    (record,) = [r for r in outcome_records(project) if r.request_id == answer["request_id"]]
    assert (record.item_id, record.event, record.value) == (shown, "click", 1.5)
    with open_log(project / "var") as log:
        joined = log.connection.execute(
            "SELECT user_id, version, position, value FROM answered_outcomes WHERE request_id = ?",
            [answer["request_id"]],
        ).fetchall()
    assert joined == [("7", "1.0", 1, 1.5)]


def test_bad_outcomes_are_refused_alone_in_a_batch(serving: Serving, project: Path) -> None:
    def send(number: int) -> httpx2.Response:
        body = outcome(f"batch-{number}")
        return tell(serving, body | {"evnt": "click"} if number % 4 == 1 else body)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(12)))
    assert [a.status_code for a in answers] == [422 if n % 4 == 1 else 202 for n in range(12)]
    assert answers[1].headers["content-type"] == "application/problem+json"
    assert answers[1].json()["errors"][0]["pointer"] == "/evnt"
    assert "Did you mean 'event'?" in answers[1].json()["detail"]
    logged = sorted(r.request_id for r in outcome_records(project) if "batch-" in r.request_id)
    assert logged == sorted(f"batch-{n}" for n in range(12) if n % 4 != 1)


def test_repeated_outcome_is_accepted_and_logged_each_time(serving: Serving, project: Path) -> None:
    assert {tell(serving, outcome("again")).status_code for _ in range(3)} == {202}
    assert sum(r.request_id == "again" for r in outcome_records(project)) == 3


def test_wrong_type_or_body_gets_a_problem(serving: Serving) -> None:
    text = serving.client.post("/outcomes", content=b"{}", headers={"content-type": "text/plain"})
    broken = serving.client.post("/outcomes", content=b"{", headers=JSON_TYPE)
    for response, status in ((text, 415), (broken, 400)):
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"


def test_accepted_outcomes_outlive_a_killed_worker(serving: Serving, project: Path) -> None:
    accepted = [f"kill-{n}" for n in range(40) if told_or_killed(serving, n)]
    logged = {r.request_id for r in outcome_records(project)}
    assert len(accepted) > 20
    assert set(accepted) <= logged


def told_or_killed(serving: Serving, number: int) -> bool:
    if number == 20:
        os.kill(outcomes_worker(serving), signal.SIGKILL)
    return tell(serving, outcome(f"kill-{number}")).status_code == 202


def outcomes_worker(serving: Serving) -> int:
    base = f"http://127.0.0.1:{serving.ports.management}"
    (described,) = httpx2.get(f"{base}/models/outcomes").json()
    pid = int(described["workers"][0]["pid"])
    children = psutil.Process(serving.process.pid).children(recursive=True)
    assert pid in {child.pid for child in children}
    return pid


PERSON = "reader-4711"


def test_person_is_forgotten_while_others_are_served(serving: Serving, project: Path) -> None:
    gone = []
    with Driver(serving, rate=20) as driver:
        for _ in range(3):
            answer = serving.predict(user_id=PERSON, features=[{"item_id": 50}]).json()
            tell(serving, outcome(answer["request_id"]))
            gone.append(answer["request_id"])
        other = serving.predict(user_id="reader-471", features=[{"item_id": 50}]).json()
        tell(serving, outcome(other["request_id"]))
        said = marloft(project, "log", "forget", "--user", PERSON)
        assert f"3 predictions and 3 outcomes of user {PERSON} are removed" in said
        driver.wait_for(10)
    answered = {each.request_id for each in driver.sent if each.status == 200}
    assert answered | {other["request_id"]} <= {each.request_id for each in records(project)}
    told = {each.request_id for each in outcome_records(project)}
    assert other["request_id"] in told
    assert told.isdisjoint(gone)
    assert holding(project / "var", PERSON) == []
    assert "are what they were" in marloft(project, "log", "stat", "--check")
    assert "0 predictions and 0 outcomes" in marloft(project, "log", "forget", "--user", PERSON)


def holding(var: Path, text: str) -> list[Path]:
    """Return the files of a state folder in which a text stands, whoever wrote them."""
    files = [path for path in var.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def test_state_and_records_are_closed_to_other_users(serving: Serving, project: Path) -> None:
    var = project / "var"
    tell(serving, outcome("modes"))
    # What TorchServe, Envoy and the exporter write has the umask of `marloft serve`.
    by_umask = {var / "log" / "torchserve", var / "run" / "metrics"}
    found = [path for path in open_to_others(var) if path.suffix != ".log"]
    assert [path for path in found if not by_umask & {path, path.parent}] == []
