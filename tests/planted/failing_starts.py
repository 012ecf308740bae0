"""Handlers that fail while a worker loads them, each in a way of its own, and what is to be said.

The first file of a case is its handler; the archive holds all of them.
"""

from pathlib import Path
from typing import NamedTuple

_HEAD = "from marloft.serving import Handler\n"
_LOADS = """

class Failing(Handler):
    def load(self, archive):
"""
_REST = """
    def decode(self, request):
        return {}

    def encode(self, request, outputs):
        return None
"""


class FailingStart(NamedTuple):
    """Files by name, and the line that names the user's own error; `silent`: no traceback is."""

    files: dict[str, str]
    said: str
    silent: bool = False


def _handler(head: str = "", load: str = "pass") -> dict[str, str]:
    lines = "".join(f"        {line}\n" for line in load.splitlines())
    return {"failing.py": f"{_HEAD}{head}{_LOADS}{lines}{_REST}"}


CASES = {
    "missing_package": FailingStart(
        {**_handler("import steps\n"), "steps.py": "import lower\n",
         "lower.py": "\n\nimport no_such_package\n"},
        "ModuleNotFoundError: No module named 'no_such_package' (lower.py:3 in <module>)",
    ),
    "syntax": FailingStart(
        {**_handler("import steps\n"), "steps.py": "def scale(x):\n    return (x,\n"},
        "SyntaxError: '(' was never closed (steps.py:2)",
    ),
    "missing_library": FailingStart(
        _handler("import ctypes\nctypes.CDLL('libmissing.so.7')\n"),
        "OSError: libmissing.so.7: cannot open shared object file: No such file or directory "
        "(failing.py:3 in <module>)",
    ),
    "chain": FailingStart(
        _handler(load="""\
try:
    try:
        {}["table"]
    except KeyError as error:
        raise ValueError("no tables") from error
except ValueError:
    raise RuntimeError("cannot load:\\n  missing keys:\\n\\n  a, b")
"""),
        "RuntimeError: cannot load: missing keys: a, b (failing.py:12 in load), after "
        "KeyError: 'table' (failing.py:8 in load)",
    ),
    "group": FailingStart(
        _handler(load="""\
faults = [ValueError("never raised")]
try:
    open("a.txt")
except OSError as error:
    faults.append(error)
raise ExceptionGroup("two faults", faults)
"""),
        "ExceptionGroup: two faults (2 sub-exceptions) (failing.py:11 in load), holding "
        "ValueError: never raised; FileNotFoundError: [Errno 2] No such file or directory: "
        "'a.txt' (failing.py:8 in load)",
    ),
    "exit_in_load": FailingStart(
        _handler("import sys\n", "sys.exit(3)"), "SystemExit: 3 (failing.py:7 in load)"
    ),
    "exit_in_import": FailingStart(
        _handler("import sys\nsys.exit('no licence')\n"),
        "SystemExit: no licence (failing.py:3 in <module>)",
        silent=True,
    ),
    "crash": FailingStart(
        _handler("import ctypes\n", "ctypes.string_at(0)"),
        "Fatal Python error: Segmentation fault (failing.py:7 in load)",
    ),
}  # fmt: skip
CONFIG = """\
name: ranker
version: "{version}"
handler: ../handlers/{name}/failing.py
artifact: ../build/export/model.onnx
runtime: onnx
files: {{{files}}}
schema:
  row:
    item_id: {{type: integer}}
"""


def plant(project: Path, name: str, version: str) -> Path:
    """Write handler and archive configuration of a case as a version of the ranker."""
    handlers = project / "handlers" / name
    handlers.mkdir()
    for file, text in CASES[name].files.items():
        (handlers / file).write_text(text)
    others = [file for file in CASES[name].files if file != "failing.py"]
    files = ", ".join(f"{file}: ../handlers/{name}/{file}" for file in others)
    config = project / "archive_configs" / f"{name}.yaml"
    config.write_text(CONFIG.format(version=version, name=name, files=files))
    return config
