"""Puts a planted version of the tiny ranker into a test's project."""

import shutil
from pathlib import Path
from typing import Literal

from harness.factories import REPOSITORY

Fault = Literal["broken", "failing", "slow", "worse"]
_CONFIG = """\
name: ranker
version: "{version}"
handler: ../handlers/{fault}_ranker.py
artifact: ../build/export/model.onnx
runtime: onnx
files:
  ranker.py: ../handlers/ranker.py
  tables.npz: ../build/export/tables.npz
response: {{type: ranking}}
schema:
  max_rows: 500
  row:
    item_id: {{type: integer, minimum: 0, maximum: 9007199254740991}}
"""


def plant(project: Path, fault: Fault, version: str = "1.1") -> Path:
    """Write handler and archive configuration of a version with `fault`; return the latter.

    It replaces the project's own configuration of that version. Pack it as any other. It has no
    golden answers, which would refuse the version before its users could.
    """
    configs = project / "archive_configs"
    for path in configs.glob("*.yaml"):
        text = path.read_text()
        if "\nname: ranker\n" in f"\n{text}" and f'\nversion: "{version}"\n' in text:
            path.unlink()
    handler = f"{fault}_ranker.py"
    shutil.copy(REPOSITORY / "tests" / "planted" / handler, project / "handlers" / handler)
    config = configs / f"{fault}_ranker.yaml"
    config.write_text(_CONFIG.format(fault=fault, version=version))
    return config
