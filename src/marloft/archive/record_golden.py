"""Records golden answers from the source model, so that every later form can be compared with it.

The source is the user's own Python: the model as it was trained, never the artifact that is packed.
An artifact that is compared with itself proves nothing.
"""

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from marloft.archive.golden import parse_golden
from marloft.archive.golden_comparison import UNDECLARED, difference, expected_fault
from marloft.archive.spec import ArchiveSpec, located, parse_spec
from marloft.archive.user_code import user_code
from marloft.contract.answers import AnyAnswer
from marloft.contract.encode_answer import encode_answer, value_class
from marloft.contract.manifest import GoldenAnswer
from marloft.contract.response import FIELDS, Response, type_of
from marloft.errors import ConfigError, nearest
from marloft.files import NOT_JSON, write_atomic
from marloft.text_files import read_utf8
from marloft.tracebacks import Frame

AnswerFunction = Callable[[dict[str, Any]], Any]
_CURE_OF_IMPORT = (
    "correct that line; what a file does when it is run as a program stands under "
    '`if __name__ == "__main__":`.'
)


def record_golden(
    config: Path, requests: Path, source: str | AnswerFunction, out: Path | None = None
) -> list[GoldenAnswer]:
    """Let the source model answer each request, twice, and write `golden.jsonl`.

    This runs the source in this process, and imports it when it is named.

    Args:
        config: the archive's YAML file; its schema and tolerance are used, nothing is packed.
        requests: one request body a line, as clients send it.
        source: a function, or `FILE.py:CALLABLE` or `MODULE:CALLABLE`; it takes one request body
            and returns the value that `encode` would, or a dict with fields of the answer, such as
            `prediction`.
        out: the file to write, by default the one that `golden` in the YAML file names.

    Raises:
        ConfigError: a request does not fit the schema, the source cannot be imported, is the
            archive's handler, or gives no usable answer or two different ones.
        UserCodeError: the source itself fails; `log` is the traceback of its own lines.
    """
    spec = parse_spec(config)
    if spec.schema is None:
        raise ConfigError(f"{config}: schema is missing; golden requests need it.")
    bodies = _requests(requests, spec)
    answer, name = _load_source(source, located(config, "handler", spec.handler))
    answers = [
        GoldenAnswer(request=body, expected=_ask(answer, body, (requests, number), spec, name))
        for number, body in enumerate(bodies, start=1)
    ]
    write_atomic(out or _golden_file(config, spec), msgspec.json.Encoder().encode_lines(answers))
    return answers


def _requests(path: Path, spec: ArchiveSpec) -> list[dict[str, Any]]:
    """Return the request bodies after checking each against the schema."""
    bodies: list[dict[str, Any]] = []
    for number, line in enumerate(read_utf8(path).splitlines(), start=1):
        try:
            bodies.append(msgspec.json.decode(line, type=dict[str, Any]))
        except NOT_JSON as error:
            raise ConfigError(f"{path}:{number}: no JSON object: {error}") from None
    unanswered = [GoldenAnswer(request=body, expected={}) for body in bodies]
    if spec.schema is not None:
        try:
            parse_golden(msgspec.json.Encoder().encode_lines(unanswered), spec.schema)
        except ConfigError as error:
            raise ConfigError(f"{path}: as {error}") from None
    return bodies


def _golden_file(config: Path, spec: ArchiveSpec) -> Path:
    if spec.golden is None:
        raise ConfigError(f"{config}: golden is missing; name the file there, or give --out.")
    return located(config, "golden", spec.golden)


def _load_source(source: str | AnswerFunction, handler: Path) -> tuple[AnswerFunction, str]:
    """Return the source and what to call it in errors."""
    if not isinstance(source, str):
        return source, f"source {getattr(source, '__name__', repr(source))}"
    place, _, name = source.rpartition(":")
    if not place or not name.isidentifier():
        raise ConfigError(f"source {source!r} is not FILE.py:CALLABLE or MODULE:CALLABLE.")
    with user_code(f"source {place} cannot be imported", _CURE_OF_IMPORT):
        module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
        found = getattr(module, name, None)
    if Path(getattr(module, "__file__", None) or "").resolve() == handler.resolve():
        raise ConfigError(
            f"{source} is the archive's own handler; golden answers come from the source model."
        )
    if not callable(found):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise ConfigError(f"{place} has no callable {name!r}.{nearest(name, public)}")
    answer: AnswerFunction = found
    return answer, source


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; check the path of the source.")
    # As `python FILE` would: the modules next to the file are importable.
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> Any:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            # A module that the source imports; its own line says more.
            raise
        raise ConfigError(f"source {name}: {error}; give FILE.py:CALLABLE or install it.") from None


def _ask(
    answer: AnswerFunction,
    body: dict[str, Any],
    place: tuple[Path, int],
    spec: ArchiveSpec,
    source: str,
) -> dict[str, Any]:
    """Return the source's answer to the request in a line of a file, whatever its code does."""
    file, number = place
    where = f"{file}:{number}"
    code = getattr(answer, "__code__", None)
    begins = Frame(code.co_filename, code.co_firstlineno, None).place if code else None
    cure = f"correct it, or take the request out of {file}."
    with user_code(f"{where}: {source} fails", cure, begins):
        return _record(answer, body, where, spec)


def _record(
    answer: AnswerFunction, body: dict[str, Any], where: str, spec: ArchiveSpec
) -> dict[str, Any]:
    rows = len(body["features"])
    first, second = (_to_plain(answer(body), where, spec.response, rows) for _ in range(2))
    found = difference(first, second, spec.golden_tolerance, spec.response)
    if found is not None:
        raise ConfigError(
            f"{where}: asked twice, the source answers differently ({found}); put the model into "
            "its evaluation mode (no dropout) and give randomness a seed."
        )
    fields = ("scores",) if spec.response is None else tuple(first)
    if spec.response is None or spec.response.per == "row":
        for field in fields:
            part = first.get(field)
            if isinstance(part, list) and len(part) != rows:
                raise ConfigError(f"{where}: {len(part)} {field} for {rows} rows; give one a row.")
    return first


def _to_plain(answer: Any, where: str, response: Response | None, rows: int) -> dict[str, Any]:
    """Return an answer as JSON will hold it; arrays and tensors become lists."""
    if isinstance(answer, AnyAnswer):
        try:
            encoded = encode_answer(answer, response, rows)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}: {str(error).replace('encode', 'the source', 1)}") from None
        return {field: msgspec.json.decode(part) for field, part in encoded.parts().items()}
    if not isinstance(answer, dict) or not answer:
        fields = UNDECLARED if response is None else FIELDS[type_of(response)]
        raise ConfigError(
            f"{where}: the source returned {type(answer).__name__}, not a dict with "
            f"{', '.join(fields)} or some of them."
        )
    plain = msgspec.to_builtins(answer, enc_hook=_to_list)
    if not all(map(math.isfinite, _floats(plain))):
        raise ConfigError(f"{where}: the source answered with NaN or infinity.")
    fault = expected_fault(plain, response)
    if fault is not None:
        value = "" if response is None else f"; or return a {value_class(response).__name__}."
        raise ConfigError(
            f"{where}: the source answered otherwise than is declared: {fault}{value}"
        )
    return dict(plain)


def _to_list(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ConfigError(f"the source answered with a {type(value).__name__}; give plain values.")


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [each for part in value.values() for each in _floats(part)]
    if isinstance(value, list):
        return [each for part in value for each in _floats(part)]
    return [value] if isinstance(value, float) else []
