"""A tiny ranker made in milliseconds: tables, the same model as ONNX and TorchScript, golden file.

The model is `sigmoid(user[u] + item[i] + year[y] + genres · w)`; `score` computes it with NumPy
alone, so that golden answers are independent of every runtime.
"""

import importlib.util
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.documents import write_documents
from marloft.contract.manifest import Artifact, GoldenAnswer, Runtime, artifact_digest
from marloft.files import sha256_file, sidecar_path, write_atomic, write_json
from marloft.ranker.features import INPUT_NAMES, FeatureTables, build_tables, encode, parse_user_id
from marloft.runtimes.artifact_files import other_files

REPOSITORY = Path(__file__).parents[1]
EARLIER = REPOSITORY / "tests" / "fixtures" / "earlier"
USERS = np.arange(1, 31)
ITEMS = np.arange(1, 61)
UNKNOWN_USER, UNKNOWN_ITEM = "999999", 999999
_GENRES = ("Comedy", "Drama", "Horror")
_YEARS = 16
_DTYPES = {"user": "int64[n]", "item": "int64[n]", "year": "int64[n]", "genres": "float32[n,3]"}
_CODE = """
import torch

class Ranker(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        for name, values in weights.items():
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, user: torch.Tensor, item: torch.Tensor, year: torch.Tensor,
                genres: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.users[user] + self.items[item] + self.years[year]
                             + genres @ self.weights)
"""


def tables() -> FeatureTables:
    """Return tables of 30 users and 60 items."""
    years: list[int | None] = [1950 + int(item) % 47 for item in ITEMS]
    return build_tables(USERS, ITEMS, years, [[_GENRES[item % 3]] for item in ITEMS])


def weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return the model's weights: one bias per user, item and year row, one weight per genre."""
    draw = np.random.default_rng(seed)
    sizes = {"users": len(USERS) + 1, "items": len(ITEMS) + 1, "years": _YEARS, "weights": 3}
    return {name: draw.normal(size=n).astype(np.float32) for name, n in sizes.items()}


def score(user: int | str | None, items: list[int], seed: int = 0) -> list[float]:
    """Return the model's probabilities for one user's candidates, in float64 by NumPy."""
    users = np.full(len(items), parse_user_id(user))
    rows = encode(tables(), users, np.array(items))
    w = {name: values.astype(np.float64) for name, values in weights(seed).items()}
    logit = w["users"][rows["user"]] + w["items"][rows["item"]] + w["years"][rows["year"]]
    logit += rows["genres"].astype(np.float64) @ w["weights"]
    return [float(p) for p in 1 / (1 + np.exp(-logit))]


def golden(seed: int = 0) -> list[GoldenAnswer]:
    """Return answers for 1 to 50 candidates, an unknown user and item, and no user."""
    asked: list[tuple[int | str | None, list[int]]] = [
        (7, [50]),
        (7, [3, 1, 2]),
        ("8", [int(item) for item in ITEMS[:50]]),
        (UNKNOWN_USER, [4, 5, 6]),
        (9, [10, UNKNOWN_ITEM, 11]),
        (None, [20, 21, 22, 23]),
    ]
    return [_golden(user, items, seed) for user, items in asked]


def body(user: int | str | None, items: list[Any], **more: Any) -> dict[str, Any]:
    """Return a request body for these candidates."""
    named = {} if user is None else {"user_id": user}
    return {**named, "features": [{"item_id": item} for item in items], **more}


def write_export(folder: Path, seed: int = 0, torchscript: bool = False) -> Path:
    """Write what an export leaves in `folder`; TorchScript costs an import of torch.

    model.int8.onnx is the same graph again: what quantization does to a model is tested apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables().save(folder / "tables.npz")
    write_atomic(folder / "golden.jsonl", msgspec.json.Encoder().encode_lines(golden(seed)))
    for name in ("model.onnx", "model.int8.onnx"):
        _write_onnx(folder / name, seed)
        write_sidecar(folder / name, "onnx")
    if torchscript:
        _write_torchscript(folder / "model.torchscript", seed)
        write_sidecar(folder / "model.torchscript", "torchscript")
    return folder


def write_project(folder: Path, torchscript: bool = False) -> Path:
    """Lay a project out as the repository is: its handlers, configs, workflows; a tiny export."""
    for name in ("handlers", "archive_configs", "workflows"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__*"))
    export = write_export(folder / "build" / "export", torchscript=torchscript)
    write_documents(folder / "build", export / "model.onnx")
    return folder


def write_sidecar(artifact: Path, runtime: Runtime) -> None:
    """Write the artifact's sidecar as the export step does."""
    others = other_files(artifact, runtime)
    hashes = {name: sha256_file(path) for name, path in others.items()}
    sidecar = Artifact(
        file=artifact.name,
        runtime=runtime,
        sha256=artifact_digest({artifact.name: sha256_file(artifact), **hashes}),
        size_bytes=sum(path.stat().st_size for path in (artifact, *others.values())),
        files=hashes,
        inputs=_DTYPES,
        outputs={"score": "float32[n]"},
        parents={"model.pt": "0" * 64},
        max_abs_diff=0.0,
        rows_compared=0,
        metrics={},
        created="2026-01-01T00:00:00+00:00",
        command="harness/factories.py",
    )
    write_json(sidecar_path(artifact), sidecar)


def _golden(user: int | str | None, items: list[int], seed: int) -> GoldenAnswer:
    scores = score(user, items, seed)
    order = sorted(range(len(items)), key=lambda place: -scores[place])
    expected = {"scores": scores, "prediction": [items[place] for place in order]}
    return GoldenAnswer(request=body(user, items), expected=expected)


def _write_onnx(path: Path, seed: int) -> None:
    # Only the tests that write a model pay for this import.
    from onnx import TensorProto, checker, helper, numpy_helper  # noqa: PLC0415 - as said

    constants = [numpy_helper.from_array(v, name) for name, v in weights(seed).items()]
    types = [TensorProto.INT64, TensorProto.INT64, TensorProto.INT64, TensorProto.FLOAT]
    shapes: list[list[str | int | None]] = [["n"], ["n"], ["n"], ["n", 3]]
    nodes = [
        helper.make_node("Gather", ["users", "user"], ["a"]),
        helper.make_node("Gather", ["items", "item"], ["b"]),
        helper.make_node("Gather", ["years", "year"], ["c"]),
        helper.make_node("MatMul", ["genres", "weights"], ["d"]),
        helper.make_node("Sum", ["a", "b", "c", "d"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["score"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip(INPUT_NAMES, types, shapes, strict=True)
    ]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])]
    graph = helper.make_graph(nodes, "ranker", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _write_torchscript(path: Path, seed: int) -> None:
    import torch  # noqa: PLC0415 - takes a second

    # torch.jit.script reads the class's source, so it has to lie in a file.
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "tiny_ranker.py"
        source.write_text(_CODE)
        spec = importlib.util.spec_from_file_location("tiny_ranker", source)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with warnings.catch_warnings():
            # TorchScript is deprecated upstream but still what TorchServe users have.
            warnings.filterwarnings("ignore", r".*torch\.jit", DeprecationWarning)
            scripted: Any = torch.jit.script(module.Ranker(weights(seed)))
            scripted.save(str(path))
