"""marloft: from a trained PyTorch model to an A/B-tested, monitored TorchServe endpoint.

The archive's verbs and the export of models are functions of this module too. They are imported
on first use, since every worker imports `marloft`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from marloft.version import __version__ as __version__

if TYPE_CHECKING:
    from marloft.archive.inspection import inspect
    from marloft.archive.pack import pack
    from marloft.archive.project.adopt import adopt
    from marloft.archive.record_golden import record_golden
    from marloft.archive.verify import verify
    from marloft.runtimes.export import describe_export, export_onnx, export_torchscript

__all__ = [
    "adopt",
    "describe_export",
    "export_onnx",
    "export_torchscript",
    "inspect",
    "pack",
    "record_golden",
    "verify",
]

_HOMES = {
    "adopt": ("marloft.archive.project.adopt", "adopt"),
    "describe_export": ("marloft.runtimes.export", "describe_export"),
    "export_onnx": ("marloft.runtimes.export", "export_onnx"),
    "export_torchscript": ("marloft.runtimes.export", "export_torchscript"),
    "inspect": ("marloft.archive.inspection", "inspect"),
    "record_golden": ("marloft.archive.record_golden", "record_golden"),
    "pack": ("marloft.archive.pack", "pack"),
    "verify": ("marloft.archive.verify", "verify"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'marloft' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
