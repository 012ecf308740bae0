"""Real Locust readers react to the first three items of a feed alone, as they once rated them."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import Struct

from harness import factories
from marloft.contract.records import OutcomeRecord, PredictionRecord
from tests.e2e.running import Serving, configure, marloft, outcome_records, records

pytestmark = pytest.mark.e2e

LOCUSTFILE = factories.REPOSITORY / "loadtest" / "locustfile.py"
DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}}, default: "1.0"}
  outcomes: {versions: {"1.0": {}}, default: "1.0"}
"""
Ratings = dict[str, dict[int, int]]


class Visit(Struct, frozen=True, kw_only=True):
    """What Locust counted and what the logs hold of the same readers."""

    requests: int
    failures: int
    answers: list[PredictionRecord]
    told: list[OutcomeRecord]


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Ratings:
    """The true rating of 8 items by each user, drawn without a thought of the model."""
    draw = np.random.default_rng(0)
    return {
        str(user): {
            int(item): int(draw.integers(1, 6))
            for item in draw.choice(factories.ITEMS, size=8, replace=False)
        }
        for user in factories.USERS
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, ratings: Ratings) -> Path:
    folder = tmp_path_factory.mktemp("audience")
    factories.write_project(folder, torchscript=True)
    configure(folder, DEPLOYMENT)
    marloft(folder, "apply")
    (folder / "build" / "data").mkdir(parents=True)
    readers = [
        {"user_id": int(user), "items": [{"item_id": i, "rating": r} for i, r in rated.items()]}
        for user, rated in ratings.items()
    ]
    # Too few held-out items to rank: the audience leaves this user out.
    readers.append({"user_id": 999, "items": [{"item_id": 1, "rating": 5}]})
    lines = "".join(json.dumps(reader) + "\n" for reader in readers)
    (folder / "build" / "data" / "audience.jsonl").write_text(lines)
    return folder


@pytest.fixture(scope="module")
def serving(project: Path) -> Iterator[Serving]:
    with Serving(project) as running:
        yield running


def read_feeds(project: Path, who: str, port: int, name: str, *more: str) -> list[dict[str, str]]:
    """Let Locust's readers come for a while; return the rows of its statistics."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("-u", "4", "-r", "4", "-t", "4s", "--stop-timeout", "10"),
        *("--host", f"http://127.0.0.1:{port}", "--csv", name, "--html", f"{name}.html"),
        *(*more, who),
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with (project / f"{name}_stats.csv").open() as lines:
        return list(csv.DictReader(lines))


def reactions(
    record: PredictionRecord, ratings: Ratings, looked_at: int = 3
) -> set[tuple[str, int | str, str]]:
    """Return what a reader of this answer reports."""
    rated = ratings[str(record.user_id)]
    shown = record.prediction[:looked_at]
    clicks = {(record.request_id, item, "click") for item in shown if rated[item] >= 4}
    return clicks | {(record.request_id, item, "conversion") for item in shown if rated[item] == 5}


@pytest.fixture(scope="module", params=["FeedReader", "DirectTorchServe"])
def visit(request: pytest.FixtureRequest, serving: Serving, project: Path) -> Visit:
    """Readers come for four seconds, through the gateway and past it."""
    ports = {"FeedReader": serving.ports.gateway, "DirectTorchServe": serving.ports.inference}
    before, told_before = len(records(project)), len(outcome_records(project))
    stats = read_feeds(project, request.param, ports[request.param], request.param)
    assert (project / f"{request.param}.html").read_text().count("<html") == 1
    return Visit(
        requests=sum(int(row["Request Count"]) for row in stats if row["Name"] != "Aggregated"),
        failures=sum(int(row["Failure Count"]) for row in stats),
        answers=records(project)[before:],
        told=outcome_records(project)[told_before:],
    )


def test_readers_react_to_what_they_liked_among_the_first_three(
    visit: Visit, ratings: Ratings
) -> None:
    expected = set().union(*(reactions(answer, ratings) for answer in visit.answers))
    assert {(o.request_id, o.item_id, o.event) for o in visit.told} == expected
    assert len(visit.told) == len(expected)
    assert {o.event for o in visit.told} == {"click", "conversion"}
    # The control: a reader who looks at a fourth item would have been noticed.
    assert expected != set().union(*(reactions(answer, ratings, 4) for answer in visit.answers))


def test_every_request_of_a_reader_succeeds(visit: Visit) -> None:
    # Locust's last second may be missing in its CSV; its exit status, checked above, counts all.
    assert visit.failures == 0
    assert 0 < visit.requests <= len(visit.answers) + len(visit.told)
    assert {answer.status for answer in visit.answers} == {200}


def test_readers_are_drawn_alike_and_only_those_with_six_items(visit: Visit) -> None:
    users = [answer.user_id for answer in visit.answers]
    counts = np.array([users.count(str(user)) for user in factories.USERS])
    assert counts.sum() == len(users)
    expected = len(users) / len(counts)
    # Chi squared of 29 degrees of freedom: 80 is passed once in a million times.
    assert ((counts - expected) ** 2 / expected).sum() < 80


def test_same_seed_gives_the_same_order_of_readers(serving: Serving, project: Path) -> None:
    orders = []
    for seed in ("7", "7", "8"):
        before = len(records(project))
        read_feeds(project, "FeedReader", serving.ports.gateway, "seed", "--seed", seed, "-u", "1")
        orders.append([record.user_id for record in records(project)[before:]])
    common = min(len(order) for order in orders)
    assert common >= 8, "too few to tell two orders apart"
    assert orders[0][:common] == orders[1][:common]
    assert orders[0][:common] != orders[2][:common]


def test_locustfile_needs_only_locust(tmp_path: Path) -> None:
    check = (
        "import runpy, sys, json; runpy.run_path(sys.argv[1]); "
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", check, str(LOCUSTFILE)],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(msgspec.json.decode(done.stdout.splitlines()[-1], type=list[str]))
    assert "locust" in loaded
    assert loaded & {"marloft", "msgspec", "numpy", "httpx2"} == set()
