"""docs/schema.md: its schemas are accepted, its commands print what it shows, its tables hold."""

import base64
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness.factories import REPOSITORY
from marloft.archive.spec import parse_spec
from marloft.contract.predict_api import NO_ROUTE
from marloft.contract.schema import Property, RowSchema
from marloft.contract.schema.bounds import WORDS
from marloft.serving import Rejected, Request
from marloft.serving.intake import Intake
from tests.unit.cli.running import Marloft

PAGE = (REPOSITORY / "docs" / "schema.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
HEAD = "name: homes\nversion: '1.0'\nhandler: handler.py\n"
HOME: dict[str, Any] = {
    "rooms": 3,
    "price": 900,
    "title": "Bright",
    "postcode": "4000",
    "heating": None,
    "area": None,
    "tags": ["a"],
    "embedding": [1, 2, 3],
    "address": {"street": "Dammstrasse"},
    "clicks": {"monday": 3},
    "photo": base64.b64encode(b"jpeg").decode(),
}


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def schema_of(text: str, folder: Path) -> RowSchema:
    config = folder / "archive.yaml"
    config.write_text(HEAD + text)
    schema = parse_spec(config).schema
    assert schema is not None
    return schema


@pytest.fixture
def homes(tmp_path: Path) -> RowSchema:
    (text,) = [each for each in blocks("yaml") if "postcode" in each]
    return schema_of(text, tmp_path)


def sent(schema: RowSchema, row: dict[str, Any]) -> Request:
    body = msgspec.json.encode({"features": [row]})
    headers = {"content-type": "application/json"}
    return Intake(schema, "1.0").read({"body": body}, headers, NO_ROUTE, "r")


@pytest.mark.parametrize("text", [text for text in blocks("yaml") if not text.startswith("name:")])
def test_schema_of_the_page_is_accepted(tmp_path: Path, text: str) -> None:
    schema_of(text, tmp_path)


def test_commands_print_what_the_page_shows(
    tmp_path: Path, marloft: Marloft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (wrong,) = [text for text in blocks("yaml") if text.startswith("name:")]
    Path("wrong.yaml").write_text(wrong)
    Path("rows.jsonl").write_text(blocks("json")[0])
    Path("archive.yaml").write_text(HEAD + blocks("yaml")[0])
    pack, infer, show = (block.split()[1:] for block in blocks("bash"))
    # The page shows the path within the repository, the command where it is installed.
    assert marloft(*pack, code=2).replace(f"{REPOSITORY}/", "") == blocks("text")[0]
    assert marloft(*infer) in blocks("yaml")
    assert '"home.dest"' in marloft(*show)


def test_handler_of_the_page_reads_every_kind(homes: RowSchema) -> None:
    names: dict[str, Any] = {"np": np}
    exec(blocks("python")[0], names)
    request = sent(homes, HOME)
    arrays = names["decode"](None, request)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "area": [0.0],
        "street": ["Dammstrasse"],
        "embedding": [[1.0, 2.0, 3.0]],
        "mondays": [3],
    }
    (row,) = request.rows
    assert [type(each) for each in (row.rooms, row.price, row.photo)] == [int, float, bytes]
    assert (row.stars, row.balcony, row.address.number) == (1, False, None)


REFUSALS = re.findall(r"^\| `(\".+?)` \| `(/features\S*)` \| (.+?) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("given", "pointer", "detail"), REFUSALS)
def test_refusal_is_as_the_page_has_it(
    homes: RowSchema, given: str, pointer: str, detail: str
) -> None:
    with pytest.raises(Rejected) as refused:
        sent(homes, HOME | msgspec.json.decode(f"{{{given}}}"))
    assert (refused.value.pointer, refused.value.detail) == (pointer, detail)


def test_refusals_are_found() -> None:
    assert len(REFUSALS) == 8


def test_every_word_is_on_the_page() -> None:
    table = PAGE[PAGE.index("## Every word") : PAGE.index("## A field of each kind")]
    words = {field.encode_name for field in msgspec.structs.fields(Property)}
    assert set(WORDS) < words
    assert {word for word in words if f"`{word}`" not in table.replace(": base64`", "`")} == set()
