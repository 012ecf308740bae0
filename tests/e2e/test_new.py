"""docs/new.md from an empty folder to a served answer, as it stands."""

import json
import os
from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from tests.default_ports import default_ports
from tests.doc_commands import read
from tests.e2e.test_doc_commands import PORTS, activate, check, place, run

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("default_ports")]

PAGE = REPOSITORY / "docs" / "new.md"


def test_eight_commands_lead_from_nothing_to_a_served_answer(tmp_path: Path) -> None:
    commands = read(f"docs/{PAGE.name}")
    assert len(commands) <= 8
    before = os.times()
    with default_ports(*PORTS):
        session = run(activate(tmp_path), commands, limit_s=180)
    after = os.times()
    check(commands, session)
    answer = json.loads(session.outputs[place(commands[-1])])
    assert answer["model_version"] == "v1.0"
    assert set(answer["prediction"]) <= {"leaves", "stays"}
    assert len(answer["prediction"]) == len(answer["confidence"]) == 2
    # Of the processors: the wall clock also has what else runs on the machine.
    spent = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    assert 0 < spent < 60
