"""A project with a table of three rows: one done, one thin, one absent."""

from pathlib import Path

import pytest

from tools.deliverables.table import SOURCE

TABLE = """\
areas:
  - name: One
    rows:
      - {name: page, files: [a.txt], check: grep -q whole a.txt, target: whole, state: done}
      - {name: other, files: [b.txt], check: test -s b.txt, target: there, state: thin, note: short}
      - {name: gone, files: [], check: "false", target: none, state: absent, note: no machine}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / SOURCE).write_text(TABLE)
    (tmp_path / "a.txt").write_text("whole\n")
    (tmp_path / "b.txt").write_text("there\n")
    return tmp_path
