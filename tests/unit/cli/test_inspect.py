"""`marloft inspect`: one archive, two that differ, or the document of its path."""

import json
from pathlib import Path

from harness import factories
from marloft.archive.openapi import openapi_of
from marloft.archive.pack import write_archive
from marloft.files import to_json
from tests.unit.cli.running import invoke


def test_inspect_shows_what_the_archive_holds(archive: Path) -> None:
    code, output = invoke("inspect", archive)
    assert code == 0
    assert "ranker 1.0" in output
    assert "golden" in output
    assert "answers    ranking, one per request" in output
    found = json.loads(invoke("inspect", archive, "--json")[1])
    assert found["response"] == {"type": "ranking"}


def test_inspect_of_two_shows_what_differs(store: Path, tmp_path: Path) -> None:
    config = factories.write_project(tmp_path) / "archive_configs" / "ranker_v1.yaml"
    config.write_text(config.read_text().replace("max_rows: 500", "max_rows: 60"))
    write_archive(config, tmp_path)
    two = (store / "ranker-1.0.mar", tmp_path / "ranker-1.0.mar")
    code, output = invoke("inspect", *two, "--json")
    assert code == 0
    assert {"category": "schema", "what": "max_rows", "before": 500, "after": 60} in json.loads(
        output
    )
    assert "max_rows" in invoke("inspect", *two)[1]
    assert invoke("inspect", two[0], two[0])[1].split()[-1] == "none"


def test_inspect_prints_the_openapi_document(archive: Path) -> None:
    code, output = invoke("inspect", archive, "--openapi")
    assert (code, json.loads(output)) == (0, json.loads(to_json(openapi_of(archive))))
    assert "/models/ranker/predict" in json.loads(output)["paths"]
    assert invoke("inspect", archive, archive, "--openapi")[0] == 2


def test_inspect_says_once_what_one_answer_is_for(tmp_path: Path) -> None:
    (tmp_path / "sure.py").write_text(
        "from marloft.serving import Handler\n\n\nclass Sure(Handler):\n    pass\n"
    )
    (tmp_path / "sure.yaml").write_text(
        'name: sure\nversion: "1.0"\nhandler: sure.py\nschema: {row: {n: {type: integer}}}\n'
        "response: {type: regression, per: request}\n"
    )
    write_archive(tmp_path / "sure.yaml", tmp_path)
    lines = invoke("inspect", tmp_path / "sure-1.0.mar")[1].splitlines()
    assert [" ".join(line.split()) for line in lines if line.startswith("answers")] == [
        "answers regression, one per request"
    ]
