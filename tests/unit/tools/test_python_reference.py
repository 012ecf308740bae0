"""docs/python.md has every public name, as the source has it, and its examples run."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness import factories
from harness.factories import REPOSITORY
from tools.python_reference import (
    RESULTS,
    TEMPLATE,
    VALUES,
    blocks,
    describe,
    examples,
    public_names,
    render,
    values,
)

TEXT = (REPOSITORY / "docs" / "python.md").read_text()
# Runs each example with nothing of the one before it, and stops at the first fault.
RUNNER = """
import json, sys
for name, text in json.load(sys.stdin):
    print(name, flush=True)
    exec(compile(text, name, "exec"), {"__name__": "example"})
"""


def test_page_is_what_the_source_and_the_template_say() -> None:
    made = render(TEMPLATE.read_text())
    assert made == TEXT, "run `python -m tools.python_reference > docs/python.md`"


def test_page_that_the_source_has_left_behind_is_noticed() -> None:
    older = TEXT.replace("config: Path, out: Path", "config: str, out: str")
    assert older != TEXT
    assert render(older) == TEXT


def test_every_public_name_has_its_place_and_an_example() -> None:
    named = set(blocks(TEXT)) - {VALUES, *RESULTS}
    assert named == set(public_names())
    assert len(blocks(TEXT)) == len(set(blocks(TEXT)))
    lacking = [name for name, found in examples(TEXT).items() if name in named and not found]
    assert lacking == []


def test_name_without_an_example_is_noticed() -> None:
    page = "<!-- begin marloft.a -->\nx\n<!-- end -->\n<!-- begin marloft.b -->\n<!-- end -->\n"
    fenced = page + "```python\nassert True\n```\n"
    assert examples(fenced) == {"marloft.a": [], "marloft.b": ["assert True\n"]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder as the page describes it, with a stock archive in it."""
    project = factories.write_project(tmp_path)
    model = {"modelName": "old", "modelVersion": "1.0", "handler": "old.py"}
    with zipfile.ZipFile(project / "old.mar", "w") as stock:
        described = {"model": {**model, "serializedFile": "model.onnx"}}
        stock.writestr("MAR-INF/MANIFEST.json", json.dumps(described))
        stock.write(project / "handlers" / "outcomes.py", "old.py")
        stock.write(project / "build" / "export" / "model.onnx", "model.onnx")
    return project


@pytest.mark.slow
def test_examples_run_in_the_order_of_the_page(project: Path) -> None:
    texts = [(name, text) for name, found in examples(TEXT).items() for text in found]
    assert len(texts) >= len(public_names())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUNNER],
        cwd=project,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]}: {done.stderr}"
    assert done.stdout.split() == [name for name, _ in texts]


def test_function_is_shown_as_it_is_written() -> None:
    text = describe("marloft.pack")
    assert text.startswith("```python\ndef pack(\n    config: Path, out: Path = Path(")
    assert "\n- `run_handler`: False for an archive that " in text
    assert "\n- `HandlerError`: the handler fails" in text


def test_class_is_shown_with_its_fields_and_methods() -> None:
    text = describe("marloft.serving.Handler")
    assert "    def decode(self, request: Request) -> Arrays: ...\n" in text
    assert "\n\n`decode`: turn one request into model inputs" in text
    assert "    extra: Extra | None = None\n" in describe("marloft.serving.Prediction")


def test_alias_is_shown_as_it_is_made() -> None:
    assert describe("marloft.runtimes.Arrays") == (
        "```python\nArrays = Mapping[str, NDArray[Any]]\n```"
    )


@pytest.mark.parametrize(
    "row",
    [
        "| `{type: integer}` | `7` | `7`, int |",
        "| `{type: number}` | `2` | `2.0`, float |",
        "| `{type: string}` | `\"abc\"` | `'abc'`, str |",
        "| `{type: boolean}` | `true` | `True`, bool |",
        "| `{type: string, enum: [day, night]}` | `\"night\"` | `'night'`, str |",
        "| `{type: array, items: {type: integer}}` | `[3, 1]` | `[3, 1]`, list |",
        "| `{type: [number, null]}` | `null` | `None` |",
        "| `{type: [number, null]}` | `0.5` | `0.5`, float |",
        "| `{type: [string, null], default: null}` | nothing | `None` |",
        "| `{type: object, properties: {lat: {type: number}, lon: {type: number}}}` "
        '| `{"lat": 52.5, "lon": 13.4}` | an object; `.lat` is `52.5`, `.lon` is `13.4` |',
        "| `{type: array, items: {type: object, properties: {id: {type: integer}}}}` "
        '| `[{"id": 3}]` | list; `[0]` is an object; `.id` is `3` |',
        "| `{type: string, contentEncoding: base64}` | `\"aGk=\"` | `b'hi'`, bytes |",
        "| `{type: integer, default: 0}` | nothing | `0`, int |",
    ],
)
def test_value_of_each_type_is_what_the_decoder_gives(row: str) -> None:
    assert row in values().splitlines()
    assert row in TEXT
