"""Code that nobody reads as source is found; what resembles it is not.

The hostile archives (harness/hostile_archives/contents.py) have an example of each kind that is
found; here is what must not be, and what a scan depends on.
"""

import gzip
import io
import pickle
import random
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from harness import factories
from marloft.archive.checks.hidden_code import EXECUTABLE, PICKLE, HiddenCode, hidden_code
from marloft.archive.checks.pickles import pickle_offset

_WINDOW = 1 << 20
_CALL = b"\x80\x04\x95\x15\0\0\0\0\0\0\0\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."


def found(name: str, content: bytes) -> HiddenCode | None:
    return hidden_code([name], io.BytesIO(content))


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((300, 300), 80).save(file, kind)
    return file.getvalue()


def _table() -> bytes:
    file = io.BytesIO()
    table = pa.table({"id": list(range(1000)), "name": [f"item {n}" for n in range(1000)]})
    pa.parquet.write_table(table, file, compression="gzip")
    return file.getvalue()


def _arrays() -> bytes:
    file = io.BytesIO()
    # A field whose name has an O is no object.
    rows = np.zeros(9, dtype=[("Object_Of", "<i8"), ("b", "<f4")])
    np.savez_compressed(file, rows=rows, weights=np.random.default_rng(0).normal(size=(999, 99)))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("functions.txt", b"abs\ncos\ntan\nbar\ntotal\nRound\nos\nio\n."),
        ("words.txt", b"cos\ntan\n(see the table)\nRest\n"),
        ("words.txt", b"I\nam\nno\npickle.\n"),
        ("table.csv", b"id,name\n1,ios\n2,copy\n"),
        ("power.txt", b"x^2 + 1 is no zlib\n"),
        ("empty", b""),
        ("full.stop", b"."),
        ("words.json.gz", gzip.compress(b'{"a": [1, 2]}')),
        ("words.z", zlib.compress(b"plain text")),
        ("noise.bin", random.Random(0).randbytes(8 << 20)),
        ("zeros.bin", bytes(3 << 20)),
        ("code.py", b"#!/usr/bin/env python\nimport os\n"),
        ("picture.png", _picture("png")),
        ("picture.jpg", _picture("jpeg")),
        ("table.parquet", _table()),
        ("arrays.npz", _arrays()),
        ("sofa.sold", b"not a library"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_data_and_documents_hold_no_code(name: str, content: bytes) -> None:
    assert found(name, content) is None


@pytest.mark.slow
def test_exports_hold_no_code(tmp_path: Path) -> None:
    export = factories.write_export(tmp_path, torchscript=True)
    for name in ("model.torchscript", "model.onnx", "tables.npz"):
        for is_artifact in (False, True):
            with (export / name).open("rb") as stream:
                assert hidden_code([name], stream, is_artifact=is_artifact) is None


@pytest.mark.parametrize("before", [0, 1, _WINDOW - 20, _WINDOW, 2 * _WINDOW + 7])
@pytest.mark.parametrize(
    "call",
    [_CALL, b"cos\nsystem\n(S'id'\ntR.", b"(S'id'\nios\nsystem\n."],
    ids=["protocol 4", "protocol 0", "protocol 0, INST"],
)
def test_pickle_is_found_wherever_it_begins(before: int, call: bytes) -> None:
    seen = found("data.bin", bytes(before) + call + bytes(99))
    assert seen is not None
    assert seen.code == PICKLE


@pytest.mark.parametrize("before", [0, _WINDOW - 3, _WINDOW])
def test_program_is_found_wherever_it_begins(before: int) -> None:
    for program in (
        b"\x7fELF\x01\x01\x01",
        b"PE\0\0\x64\x86",
        b"\xcf\xfa\xed\xfe\x0c\0\0\x01",
    ):
        seen = found("data.bin", bytes(before) + program + bytes(99))
        assert seen is not None
        assert (seen.code, f"at byte {before:,}" in seen.what) == (EXECUTABLE, True)


def test_what_is_found_inside_says_the_way_there() -> None:
    seen = found("data.gz", gzip.compress(gzip.compress(_CALL)))
    assert seen == HiddenCode(PICKLE, "a file of gzip of a file of gzip of a pickle")


@pytest.mark.parametrize("name", [".", "m", "a//b", "..", "\x7f"])
def test_member_of_any_name_inside_is_looked_at(name: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/constants.pkl", b"\x80\x02).")
        archive.writestr(name, _CALL)
    seen = found("m.pt", file.getvalue())
    assert seen is not None
    assert seen.code == PICKLE


def test_pickle_of_data_alone_is_refused_at_the_first_byte_only() -> None:
    plain = pickle.dumps({"a": [1, 2, 3]})
    assert found("data.bin", plain) == HiddenCode(PICKLE, "a pickle")
    # It names nothing that could be called.
    assert pickle_offset(b"text" + plain) is None


def test_an_artifact_is_not_searched_for_numbers_that_look_like_code() -> None:
    content = bytes(99) + _CALL
    assert hidden_code(["model.onnx"], io.BytesIO(content), is_artifact=True) is None
    assert hidden_code(["model.onnx"], io.BytesIO(content)) is not None


@pytest.mark.parametrize(
    ("name", "is_foreign"),
    [
        (b"__torch__\nDeliveries\n", False),
        (b"__torch__.package.module\nModel\n", False),
        (b"torch\nFloatStorage\n", False),
        (b"torch\nload\n", True),
        (b"os\nsystem\n", True),
    ],
)
def test_torchscript_names_its_own_classes_alone(name: bytes, is_foreign: bool) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/constants.pkl", b"\x80\x02).")
        archive.writestr("m/data.pkl", b"\x80\x02c" + name + b")R.")
    assert (found("m.pt", file.getvalue()) is not None) == is_foreign
