"""`marloft golden record`: how many answers came, and from where."""

from pathlib import Path

import msgspec
import pytest

from harness import factories
from tests.unit.cli.running import Marloft

SOURCE = """
from harness.factories import score

def answer(body):
    items = [row["item_id"] for row in body["features"]]
    scores = score(body.get("user_id"), items)
    order = sorted(range(len(items)), key=lambda place: -scores[place])
    return {"scores": scores, "prediction": [items[place] for place in order]}
"""
WORDS = ("golden", "record", "archive_configs/ranker_v1.yaml", "--requests", "requests.jsonl")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    factories.write_project(tmp_path)
    (tmp_path / "source.py").write_text(SOURCE)
    requests = [answer.request for answer in factories.golden()]
    (tmp_path / "requests.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(requests))
    monkeypatch.syspath_prepend(str(factories.REPOSITORY))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_answers_are_recorded_where_the_configuration_says(project: Path, marloft: Marloft) -> None:
    golden = project / "build" / "export" / "golden.jsonl"
    golden.unlink()
    said = marloft(*WORDS, "--source", "source.py:answer")
    assert said == "6 golden answers recorded from source.py:answer\n"
    assert len(golden.read_bytes().splitlines()) == 6


def test_source_that_is_none_exits_2(project: Path, marloft: Marloft) -> None:
    said = marloft(*WORDS, "--source", "source.py:anwser", code=2)
    assert "Did you mean 'answer'" in said


def test_source_that_fails_shows_its_own_lines_and_exits_2(project: Path, marloft: Marloft) -> None:
    (project / "source.py").write_text(SOURCE.replace("    items", "    body['age']\n    items"))
    said = marloft(*WORDS, "--source", "source.py:answer", code=2)
    assert said == (
        "Traceback (most recent call last):\n"
        f'  File "{project / "source.py"}", line 5, in answer\n'
        "    body['age']\n"
        "    ~~~~^^^^^^^\n"
        "KeyError: 'age'\n"
        "marloft: requests.jsonl:1: source.py:answer fails: KeyError: 'age' (source.py:5 in answer)"
        "; correct it, or take the request out of requests.jsonl.\n"
    )
