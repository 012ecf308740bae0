"""`marloft schema`: what is printed can be pasted, and describes every good request."""

import json
from pathlib import Path

import jsonschema
import pytest

from harness.factories import REPOSITORY
from marloft.archive.spec import parse_spec
from tests.unit.cli.running import Marloft

RANKER = REPOSITORY / "archive_configs" / "ranker_v1.yaml"


def test_inferred_block_is_a_schema_as_it_is(tmp_path: Path, marloft: Marloft) -> None:
    sample = tmp_path / "rows.jsonl"
    sample.write_text('{"age": 3, "home.dest": "x"}\n{"age": 40, "home.dest": null}\n')
    block = marloft("schema", "infer", str(sample))
    assert block.startswith("# From rows.jsonl, 2 rows. docs/schema.md has every word.\nschema:\n")
    assert "age: {type: integer}  # seen: 3 to 40" in block
    config = tmp_path / "a.yaml"
    config.write_text(f"name: a\nversion: '1.0'\nhandler: a.py\n{block}")
    schema = parse_spec(config).schema
    assert schema is not None
    assert schema.row["home_dest"].alias == "home.dest"


def test_document_of_a_request_is_json_schema(marloft: Marloft) -> None:
    document = json.loads(marloft("schema", "show", str(RANKER)))
    jsonschema.Draft202012Validator.check_schema(document)
    validator = jsonschema.Draft202012Validator(document)
    good = {"user_id": 7, "features": [{"item_id": 50}], "model_version": "v1.0"}
    assert validator.is_valid(good)
    for bad in [{}, {"features": []}, {"features": [{"item": 1}]}, good | {"top": 1}]:
        assert not validator.is_valid(bad)
    assert document["title"] == "ranker 1.0"


def test_archive_says_what_its_file_says(archive: Path, marloft: Marloft) -> None:
    assert marloft("schema", "show", str(archive)) == marloft("schema", "show", str(RANKER))


def test_field_called_pattern_is_shown(tmp_path: Path, marloft: Marloft) -> None:
    config = tmp_path / "a.yaml"
    words = r"{type: string, pattern: 'a\Z'}"
    config.write_text(
        f"name: a\nversion: '1.0'\nhandler: a.py\nschema: {{row: {{pattern: {words}}}}}\n"
    )
    document = json.loads(marloft("schema", "show", str(config)))
    rows = document["properties"]["features"]["items"]["properties"]
    assert rows["pattern"] == {"type": "string", "pattern": "a$"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nversion: '1.0'\nhandler: a.py\n", "has no schema"),
        ("name: a\nversion: '1.0'\nhandler: a.py\nschema: {row: {x: {type: array}}}\n", "'items'"),
    ],
)
def test_file_without_a_good_schema_is_refused(
    tmp_path: Path, marloft: Marloft, text: str, words: str
) -> None:
    config = tmp_path / "a.yaml"
    config.write_text(text)
    assert words in marloft("schema", "show", str(config), code=2)
