"""The Python reference: signatures and docstrings of docs/python.md, from the source.

    python -m tools.python_reference > docs/python.md

The page is `tools/python_reference.md.template`, which has an example of each name and is written
by hand, with signatures and texts between its `<!-- begin NAME -->` and `<!-- end -->`. The table
of what a row holds is made by decoding rows.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from marloft.contract.schema import Property, RowSchema, rows_decoder

REPOSITORY = Path(__file__).parents[1]
TEMPLATE = REPOSITORY / "tools" / "python_reference.md.template"
MODULES = ("marloft", "marloft.serving", "marloft.runtimes")
# What the functions return; not to be made by users.
RESULTS = (
    "marloft.contract.manifest.ArchiveSidecar",
    "marloft.contract.manifest.Measured",
    "marloft.contract.manifest.Artifact",
    "marloft.contract.manifest.GoldenAnswer",
    "marloft.archive.verify.VerifyReport",
    "marloft.contract.check.Check",
    "marloft.archive.inspection.Description",
    "marloft.archive.project.adopt.Adopted",
)
VALUES = "values"
# A field of the schema, and what a client sends for it.
FIELDS = (
    ("{type: integer}", "7"),
    ("{type: number}", "0.5"),
    ("{type: number}", "2"),
    ("{type: string}", '"abc"'),
    ("{type: boolean}", "true"),
    ("{type: string, enum: [day, night]}", '"night"'),
    ("{type: integer, enum: [1, 2]}", "2"),
    ("{type: array, items: {type: integer}}", "[3, 1]"),
    ("{type: [number, null]}", "null"),
    ("{type: [number, null]}", "0.5"),
    ("{type: [string, null], default: null}", ""),
    (
        "{type: object, properties: {lat: {type: number}, lon: {type: number}}}",
        '{"lat": 52.5, "lon": 13.4}',
    ),
    ("{type: array, items: {type: object, properties: {id: {type: integer}}}}", '[{"id": 3}]'),
    ("{type: string, contentEncoding: base64}", '"aGk="'),
    ("{type: integer, default: 0}", ""),
)
_BLOCK = re.compile(r"(<!-- begin (?P<name>[\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SECTION = re.compile(r"(Args|Returns|Raises|Attributes):\n")
_ENTRY = re.compile(r"(?P<name>[\w, *`]+): (?P<text>.*)", re.DOTALL)
_TITLES = {"Args": "Takes", "Raises": "Raises", "Attributes": "Has"}


def public_names() -> list[str]:
    """Return every public name with its module, as `marloft.pack`."""
    return [f"{name}.{each}" for name in MODULES for each in import_module(name).__all__]


def blocks(page: str) -> list[str]:
    """Return the names of the page's generated blocks, in order."""
    return [match["name"] for match in _BLOCK.finditer(page)]


def render(template: str) -> str:
    """Return the page: the template with each block filled."""
    return _BLOCK.sub(lambda match: f"{match[1]}{_content(match['name'])}{match[3]}", template)


def examples(page: str) -> dict[str, list[str]]:
    """Return the hand-written Python of each name: what stands between its block and the next."""
    pieces = re.split(_BLOCK.pattern.replace("(?P<name>", "(?:"), page, flags=re.DOTALL)
    after = pieces[3::3]
    found = (re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE) for text in after)
    return dict(zip(blocks(page), found, strict=True))


def describe(name: str) -> str:
    """Return signature and docstring of a public name as Markdown."""
    module, _, short = name.rpartition(".")
    found = getattr(import_module(module), short)
    if inspect.isclass(found):
        return _of_class(found)
    return _of_function(found) if inspect.isfunction(found) else _code(_assignment(module, short))


def values() -> str:
    """Return the table of what the fields of a row are in Python."""
    lines = ["| the field in `schema.row` | a client sends | in Python |", "|---|---|---|"]
    for field, sent in FIELDS:
        prop = msgspec.yaml.decode(field, type=Property)
        row = f'[{{"value": {sent}}}]' if sent else "[{}]"
        value = rows_decoder(RowSchema(row={"value": prop})).decode(row)[0].value
        told = f"`{sent}`" if sent else "nothing"
        lines.append(f"| `{field}` | {told} | {_told(value)} |")
    return "\n".join(lines)


def _told(value: Any) -> str:
    """Return a value as it is written in Python; of an object, its attributes."""
    if isinstance(value, list) and value and isinstance(value[0], msgspec.Struct):
        return f"list; `[0]` is {_told(value[0])}"
    if not isinstance(value, msgspec.Struct):
        return f"`{value!r}`" if value is None else f"`{value!r}`, {type(value).__name__}"
    parts = [f"`.{name}` is `{getattr(value, name)!r}`" for name in value.__struct_fields__]
    return f"an object; {', '.join(parts)}"


def _content(name: str) -> str:
    return f"\n{values() if name == VALUES else describe(name)}\n\n"


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _of_function(found: Any) -> str:
    source = textwrap.dedent(inspect.getsource(found))
    (node,) = ast.parse(source).body
    return "\n\n".join([_code(_signature(node, source)), *_prose(inspect.getdoc(found) or "")])


def _of_class(found: type) -> str:
    source = textwrap.dedent(inspect.getsource(found))
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    lines, methods = [_header(node, source)], []
    for part in node.body:
        if isinstance(part, ast.AnnAssign):
            lines.append(f"    {ast.get_source_segment(source, part)}")
        elif isinstance(part, ast.FunctionDef) and _is_told(part):
            decorators = [f"@{ast.unparse(each)}" for each in part.decorator_list]
            signature = "\n".join([*decorators, _signature(part, source)])
            lines.append(textwrap.indent(textwrap.dedent(signature), "    "))
            methods.append(part)
    prose = _prose(inspect.getdoc(found) or "")
    for method in methods:
        told = _prose(ast.get_docstring(method) or "")
        if told:
            prose += [f"`{method.name}`: {told[0][0].lower()}{told[0][1:]}", *told[1:]]
    return "\n\n".join([_code("\n".join(lines)), *prose])


def _is_told(method: ast.FunctionDef) -> bool:
    return method.name == "__init__" or not method.name.startswith("_")


def _header(node: ast.ClassDef, source: str) -> str:
    """Return `class NAME(BASES):` as it is written, with its decorators."""
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    lines = source.splitlines()[first - 1 : node.body[0].lineno - 1]
    return re.sub(r"  # noqa.*", "", "\n".join(lines))


def _signature(node: ast.stmt, source: str) -> str:
    """Return `def NAME(…) -> …: ...` as it is written."""
    assert isinstance(node, ast.FunctionDef)
    lines = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
    text = re.sub(r"  # noqa.*", "", "\n".join(lines))
    return f"{textwrap.dedent(text)} ..."


def _assignment(module: str, name: str) -> str:
    """Return the line that makes a type alias, wherever it lies."""
    for place in _sources(module, name):
        for node in ast.parse(place).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return ast.unparse(node)
    raise LookupError(f"{module}.{name} is no function, class or alias.")


def _sources(module: str, name: str) -> Iterator[str]:
    """Yield the source of a module and of the module that it takes the name from."""
    source = inspect.getsource(import_module(module))
    yield source
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and any(each.name == name for each in node.names):
            yield inspect.getsource(import_module(node.module or ""))


def _prose(docstring: str) -> list[str]:
    """Return the paragraphs of a docstring, its sections as lists."""
    pieces = _SECTION.split(docstring)
    paragraphs = [each for each in pieces[0].strip().split("\n\n") if each]
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        text = textwrap.dedent(body).strip()
        if title == "Returns":
            paragraphs.append(f"Returns: {' '.join(text.split())}")
        else:
            entries = map(_entry, re.split(r"\n(?=\S)", text))
            paragraphs.append(f"{_TITLES[title]}:\n\n" + "\n".join(entries))
    return paragraphs


def _entry(text: str) -> str:
    joined = " ".join(text.split())
    match = _ENTRY.fullmatch(joined)
    return f"- `{match['name']}`: {match['text']}" if match else f"- {joined}"


def main() -> None:
    """Print the page."""
    sys.stdout.write(render(TEMPLATE.read_text()))


if __name__ == "__main__":
    main()
