"""A version's golden answers, asked of a server that stands in for TorchServe's inference API."""

import base64
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from harness import factories
from marloft.contract.schema import Property, RowSchema, to_json_schema
from marloft.deploy.control.golden_gate import QUESTIONS, GoldenGate, UnansweredError, questions
from marloft.errors import ArchiveError
from tests.unit.deploy.local_server import Answer, Asked, LocalServer, as_json

PATH = "/predictions/ranker/1.0"
PNG = "image/png"
IMAGE = Property(type="string", content_encoding="base64", content_media_type=PNG)


@pytest.fixture
def gate(server: LocalServer) -> Iterator[GoldenGate]:
    found = GoldenGate(server.port)
    yield found
    found.close()


@pytest.fixture
def archive(store: Path) -> Path:
    return store / "ranker-1.0.mar"


def ranked(asked: Asked) -> Answer:
    """Answer as the source model: scores by NumPy, the best first."""
    body = msgspec.json.decode(asked.body)
    items = [row["item_id"] for row in body["features"]]
    scores = factories.score(body.get("user_id"), items)
    best_first = sorted(zip(scores, items, strict=True), reverse=True)
    return as_json({"scores": scores, "prediction": [item for _, item in best_first]})


def off_by(difference: float) -> Callable[[Asked], Answer]:
    """Answer as the source model, with the first score of the third request too high."""

    def answer(asked: Asked) -> Answer:
        found = ranked(asked)
        if msgspec.json.decode(asked.body)["features"] == [{"item_id": i} for i in range(1, 51)]:
            content = msgspec.json.decode(found.body)
            content["scores"][0] += difference
            return as_json(content)
        return found

    return answer


def rewritten(archive: Path, folder: Path, **members: bytes | None) -> Path:
    """Return a copy of an archive with members replaced, or left out for None."""
    changed = {name.replace("__", "."): content for name, content in members.items()}
    path = folder / archive.name
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = changed.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return path


def test_agreeing_version_passes_after_all_its_questions(
    server: LocalServer, gate: GoldenGate, archive: Path
) -> None:
    server.answer = ranked
    assert gate.check(archive, "ranker", "1.0") is None
    asked = [msgspec.json.decode(each.body) for each in server.asked]
    assert asked == [golden.request for golden in factories.golden()]
    for each in server.asked:
        assert (each.method, each.path) == ("POST", PATH)
        assert each.headers["content-type"] == "application/json"
        assert each.headers["x-marloft"] == "check=1", "neither logged nor counted"


def test_time_of_the_fastest_answer_is_kept(
    server: LocalServer, gate: GoldenGate, archive: Path, tmp_path: Path
) -> None:
    assert gate.check(rewritten(archive, tmp_path, golden__jsonl=None), "ranker", "1.0") is None
    assert gate.answer_s == {}, "nothing was asked"
    waits = iter([0.2, 0.05, *[0.2] * QUESTIONS])

    def late(asked: Asked) -> Answer | None:
        time.sleep(next(waits))
        return ranked(asked)

    server.answer = late
    assert gate.check(archive, "ranker", "1.0") is None
    assert 0.05 <= gate.answer_s["ranker", "1.0"] < 0.2


def test_a_batch_is_timed_at_once_unless_it_takes_long(
    server: LocalServer, gate: GoldenGate, archive: Path
) -> None:
    waits_s = 0.05

    def late(asked: Asked) -> Answer | None:
        time.sleep(waits_s)
        return ranked(asked)

    server.answer = late
    assert gate.check(archive, "ranker", "1.0", batch=4) is None
    assert gate.answer_s["ranker", "1.0"] < 0.04, "four at once take little longer than one"
    waits_s, before = 0.4, len(server.asked)
    assert gate.check(archive, "ranker", "1.0", batch=4) is None
    assert gate.answer_s["ranker", "1.0"] >= 0.4
    assert len(server.asked) - before <= QUESTIONS, "a slow model is not asked for a batch"


def test_differing_version_is_told_by_its_first_difference(
    server: LocalServer, gate: GoldenGate, archive: Path
) -> None:
    server.answer = off_by(0.01)
    found = gate.check(archive, "ranker", "1.0")
    assert found is not None
    assert found.startswith("golden answer 3 differs: scores: entry 0: ")
    assert found.endswith("(tolerance 0.0001)")
    assert len(server.asked) == 3, "the others need not be asked"


def test_difference_within_the_archives_tolerance_is_none(
    server: LocalServer, gate: GoldenGate, archive: Path
) -> None:
    server.answer = off_by(0.00005)
    assert gate.check(archive, "ranker", "1.0") is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(body="x" * 300, status=500), "golden answer 1 differs: status 500: " + "x" * 200),
        (Answer(body="<html>"), "golden answer 1 differs: the answer is no JSON object: '<html>'"),
        (as_json({"scores": []}), "golden answer 1 differs: scores: 0 entries, golden 1"),
    ],
    ids=["error", "no JSON", "no scores"],
)
def test_answer_that_is_none_is_a_difference(
    server: LocalServer, gate: GoldenGate, archive: Path, answer: Answer, said: str
) -> None:
    server.answer = lambda _: answer
    assert gate.check(archive, "ranker", "1.0") == said


@pytest.mark.parametrize("status", [503, 507])
def test_busy_or_missing_worker_proves_nothing(
    server: LocalServer, gate: GoldenGate, archive: Path, status: int
) -> None:
    server.answer = lambda _: Answer(body="", status=status)
    said = f"^{PATH} answered {status} to a golden request$"
    with pytest.raises(UnansweredError, match=said):
        gate.check(archive, "ranker", "1.0")


@pytest.mark.parametrize("gone", [True, False], ids=["nobody listens", "hangs up"])
def test_no_answer_proves_nothing(
    server: LocalServer, gate: GoldenGate, archive: Path, gone: bool
) -> None:
    server.answer = lambda _: None
    if gone:
        server.close()
    with pytest.raises(UnansweredError, match=f"^no answer to a golden request at {PATH}: "):
        gate.check(archive, "ranker", "1.0")


def test_late_answer_proves_nothing(
    server: LocalServer, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marloft.deploy.control.golden_gate._ANSWER_S", 0.05)
    late, gate = Event(), GoldenGate(server.port)

    def wait(_: Asked) -> None:
        late.wait(10)

    server.answer = wait
    with pytest.raises(UnansweredError, match="ReadTimeout"):
        gate.check(archive, "ranker", "1.0")
    late.set()
    gate.close()


def test_some_questions_are_enough(
    server: LocalServer, gate: GoldenGate, archive: Path, tmp_path: Path
) -> None:
    lines = msgspec.json.Encoder().encode_lines(2 * factories.golden())
    long = rewritten(archive, tmp_path, golden__jsonl=lines)
    server.answer = ranked
    assert gate.check(long, "ranker", "1.0") is None
    assert len(server.asked) == QUESTIONS == 8


def test_archive_without_golden_answers_is_asked_nothing(
    server: LocalServer, gate: GoldenGate, archive: Path, tmp_path: Path
) -> None:
    bare = rewritten(archive, tmp_path, golden__jsonl=None)
    assert questions(bare) == []
    assert gate.check(bare, "ranker", "1.0") is None
    assert server.asked == []


def test_archive_that_takes_bytes_is_asked_in_both_forms(
    server: LocalServer, gate: GoldenGate, archive: Path, tmp_path: Path
) -> None:
    images = [b"\x89PNG one", b"\x89PNG two"]
    golden: list[dict[str, Any]] = [
        {
            "request": {"features": [{"image": base64.b64encode(image).decode()}], "user_id": 7},
            "expected": {"label": "cat"},
        }
        for image in images
    ]
    with zipfile.ZipFile(archive) as opened:
        manifest = msgspec.json.decode(opened.read("archive.json"))
    manifest["accepts"] = ["application/json", PNG]
    taking = rewritten(
        archive,
        tmp_path,
        archive__json=msgspec.json.encode(manifest),
        schema__json=msgspec.json.encode(to_json_schema(RowSchema(row={"image": IMAGE}))),
        golden__jsonl=msgspec.json.Encoder().encode_lines(golden),
    )
    server.answer = lambda _: as_json({"label": "cat"})
    assert gate.check(taking, "ranker", "1.0") is None
    raw, json = server.asked
    assert (raw.headers["content-type"], raw.headers["x-user-id"]) == (PNG, "7")
    assert raw.headers["x-marloft"] == "check=1"
    assert raw.body == images[0]
    assert json.headers["content-type"] == "application/json"
    assert msgspec.json.decode(json.body) == golden[1]["request"]


def test_what_is_no_archive_cannot_be_asked(gate: GoldenGate, tmp_path: Path) -> None:
    path = tmp_path / "ranker-1.0.mar"
    path.write_bytes(b"no zip")
    with pytest.raises(ArchiveError, match=r"holds no archive\.json"):
        gate.check(path, "ranker", "1.0")
