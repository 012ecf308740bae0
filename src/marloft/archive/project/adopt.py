"""Turns an archive of torch-model-archiver into a folder that `pack` takes. Runs nothing of it."""

import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from marloft.archive.checks.lint import derives_from_ours
from marloft.archive.golden import parse_golden
from marloft.archive.project.scaffold import handler_skeleton
from marloft.archive.project.stock_archive import StockArchive, read_stock_archive
from marloft.contract.manifest import (
    GOLDEN_JSONL,
    SCHEMA_JSON,
    Artifact,
    Name,
    WorkerSettings,
)
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.contract.schema import RowSchema, from_json_schema, read_schema
from marloft.errors import ArchiveError, ConfigError
from marloft.files import parse_json, sha256_file, sidecar_path, write_atomic, write_json
from marloft.text_files import read_utf8

_SUFFIXES: dict[str, RuntimeName] = {".onnx": "onnx", ".plan": "tensorrt"}
_SCHEMA_HINT = """\
# The fields of a row; pack needs them. For example:
# schema:
#   max_rows: 100
#   row:
#     age: {type: number, minimum: 0}
"""
_GOLDEN_HINT = """\
# What the source model answers; `marloft golden record` writes it. Then:
# golden: ../golden.jsonl
"""


class _StockSettings(Struct, frozen=True, kw_only=True):
    """What a stock model-config.yaml says of workers; its other keys are TorchServe's alone."""

    workers: int = msgspec.field(name="minWorkers", default=0)
    batch_size: int = msgspec.field(name="batchSize", default=0)
    max_batch_delay_ms: int = msgspec.field(name="maxBatchDelay", default=0)
    response_timeout_s: int = msgspec.field(name="responseTimeout", default=0)


class Adopted(Struct, frozen=True, kw_only=True):
    """What `adopt` wrote: the archive's YAML file, and in words what is still missing in it."""

    config: str
    missing: list[str]


def adopt(
    archive: Path, folder: Path, *, schema: Path | None = None, golden: Path | None = None
) -> Adopted:
    """Unpack a stock archive and describe it as `pack` wants it described.

    Args:
        archive: what torch-model-archiver wrote, in its default format.
        folder: the project to write, missing or empty.
        schema: the rows: a `schema.json`, or a YAML file with `row` and `max_rows`; by default the
            archive's own `schema.json`, if it has one.
        golden: answers of the source model, by default the archive's own `golden.jsonl`.

    Raises:
        ArchiveError: it is no such archive, a member's path is unsafe, its artifact is a pickle or
            of no known runtime, or it is marloft's already.
        ConfigError: the folder is not empty, or schema or golden file are faulty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; name a new folder.")
    with read_stock_archive(archive) as stock:
        runtime, settings = _runtime(stock), _settings(stock)
        rows = _rows(stock, schema)
        answers = _bytes(golden) if golden else stock.content(GOLDEN_JSONL)
        if answers is not None and rows is not None:
            parse_golden(answers, rows)
        handler, ours = _write_handler(stock, folder)
        spec = {
            **_identity(stock, handler, runtime),
            **_write_members(stock, folder),
            **({} if rows is None else {"schema": msgspec.to_builtins(rows)}),
            **({} if answers is None else {"golden": f"../{GOLDEN_JSONL}"}),
            "settings": msgspec.to_builtins(settings),
        }
        _write_artifact(stock, folder, archive, runtime)
    if answers is not None:
        write_atomic(folder / GOLDEN_JSONL, answers)
    config = folder / "archive_configs" / f"{spec['name']}.yaml"
    hints = ("" if rows else _SCHEMA_HINT) + ("" if answers else _GOLDEN_HINT)
    write_atomic(config, msgspec.yaml.encode(spec).decode() + hints)
    return Adopted(config=str(config), missing=_missing(config, rows, answers, handler, ours))


def _runtime(stock: StockArchive) -> RuntimeName | None:
    if stock.artifact is None:
        return None
    suffix = Path(stock.artifact).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    with stock.open(stock.artifact) as stream:
        if zipfile.is_zipfile(stream):
            with zipfile.ZipFile(stream) as content:
                if any(name.endswith("/constants.pkl") for name in content.namelist()):
                    return "torchscript"
    raise ArchiveError(
        f"{stock.path}: {stock.artifact} is neither ONNX nor TorchScript nor a TensorRT plan; "
        "a pickle runs code when it is read: export the model to TorchScript or ONNX."
    )


def _rows(stock: StockArchive, schema: Path | None) -> RowSchema | None:
    if schema is not None and schema.suffix != ".json":
        return read_schema(schema)
    content = stock.content(SCHEMA_JSON) if schema is None else _bytes(schema)
    if content is None:
        return None
    where = SCHEMA_JSON if schema is None else str(schema)
    return from_json_schema(parse_json(content, dict[str, Any], where))


def _write_handler(stock: StockArchive, folder: Path) -> tuple[str, bool]:
    """Write the handler; return its path in the folder, and whether it is taken as it is."""
    source = stock.content(stock.handler)
    if source is not None and derives_from_ours(source, stock.handler, stock.modules):
        write_atomic(folder / "handlers" / stock.handler, source)
        return f"handlers/{stock.handler}", True
    if source is not None:
        write_atomic(folder / "original" / stock.handler, source)
    name = _name(stock)
    write_atomic(folder / "handlers" / f"{name}.py", handler_skeleton(name))
    return f"handlers/{name}.py", False


def _identity(stock: StockArchive, handler: str, runtime: RuntimeName | None) -> dict[str, Any]:
    named = {"name": _name(stock), "version": _version(stock), "handler": f"../{handler}"}
    if stock.artifact is None:
        return named
    return {**named, "artifact": f"../artifact/{stock.artifact}", "runtime": runtime}


def _write_members(stock: StockArchive, folder: Path) -> dict[str, Any]:
    """Write the user's files and requirements; return the keys that name them."""
    keys: dict[str, Any] = {}
    if stock.extract_files(folder / "files"):
        keys["files"] = {".": "../files"}
    requirements = stock.content(stock.requirements)
    if requirements is not None:
        write_atomic(folder / "requirements.txt", requirements)
        keys["requirements"] = "../requirements.txt"
    return keys


def _write_artifact(
    stock: StockArchive, folder: Path, archive: Path, runtime: RuntimeName | None
) -> None:
    """Write the artifact and a sidecar that claims no comparison with a source."""
    if stock.artifact is None or runtime is None:
        return
    path = folder / "artifact" / stock.artifact
    stock.extract(stock.artifact, path)
    sidecar = Artifact(
        file=path.name,
        runtime=runtime,
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        inputs={},
        outputs={},
        parents={archive.name: sha256_file(archive)},
        max_abs_diff=0.0,
        rows_compared=0,
        metrics={},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=f"marloft adopt {archive.name}",
    )
    write_json(sidecar_path(path), sidecar)


def _bytes(path: Path) -> bytes:
    return read_utf8(path)


def _name(stock: StockArchive) -> str:
    """Return the model's name in the allowed form, `ResNet-18` as `resnet_18`."""
    plain = re.sub(r"[^a-z0-9_]+", "_", stock.name.lower()).strip("_") or "model"
    plain = plain if plain[0].isalpha() else f"model_{plain}"
    return msgspec.convert(plain[:63], Name)


def _version(stock: StockArchive) -> str:
    """Return `major.minor`; TorchServe allows anything, such as `1.0.3-beta`."""
    numbers = [*re.findall(r"\d+", stock.version), "0", "0"]
    return f"{int(numbers[0])}.{int(numbers[1])}"


def _settings(stock: StockArchive) -> WorkerSettings:
    """Take over what model-config.yaml says of batches; the rest stays marloft's default."""
    content = stock.content(stock.config)
    if content is None:
        return WorkerSettings()
    try:
        given = msgspec.yaml.decode(content, type=_StockSettings)
        # TorchServe reads 0 as its default; so do we.
        chosen = {key: value for key, value in msgspec.structs.asdict(given).items() if value}
        return msgspec.convert(chosen, WorkerSettings)
    except msgspec.DecodeError as error:
        raise ArchiveError(
            f"{stock.path}: {stock.config}: {' '.join(str(error).split())}; correct the file "
            "and build the archive again."
        ) from None


def _missing(
    config: Path, rows: RowSchema | None, answers: bytes | None, handler: str, ours: bool
) -> list[str]:
    missing = []
    if not ours:
        missing.append(
            f"{handler} is to be filled in; the old handler, if there was one, lies in original/"
        )
    if rows is None:
        missing.append(f"schema in {config}: the fields of a row")
    if answers is None:
        missing.append(f"golden answers: marloft golden record {config} --requests … --source …")
    return missing
