"""`import marloft` shows the public functions, and costs a worker nothing."""

import subprocess
import sys

import pytest

import marloft

PUBLIC = [
    "adopt",
    "describe_export",
    "export_onnx",
    "export_torchscript",
    "inspect",
    "pack",
    "record_golden",
    "verify",
]


def test_public_names_are_these() -> None:
    assert sorted(marloft.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(marloft))
    for name in PUBLIC:
        assert callable(getattr(marloft, name))
        assert (getattr(marloft, name).__doc__ or "").strip()


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'marloft' has no attribute 'pakc'"):
        _ = marloft.pakc


def test_import_loads_no_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import marloft; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded <= sys.stdlib_module_names | {"marloft"}
    assert "marloft.archive" not in done.stdout.split()
