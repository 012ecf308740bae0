"""Ports that nobody uses, verbs as a user runs them, and a server that does not come up."""

import socket
from pathlib import Path

import pytest

from harness.serving import Serving, free_ports, run_marloft
from marloft.deploy.ports import Ports
from marloft.errors import ServingError, StepError


def test_first_offset_without_a_listener_is_taken() -> None:
    taken, free = Ports(offset=20_000), Ports(offset=20_100)
    with socket.create_server(("127.0.0.1", taken.gateway)):
        assert free_ports([taken.offset, free.offset]) == free
        with pytest.raises(ServingError, match="no set of ports is free"):
            free_ports([taken.offset])


def test_verb_runs_in_the_projects_folder(tmp_path: Path) -> None:
    done = run_marloft(tmp_path, "history")
    assert done.returncode == 2
    assert "no release in var/releases yet" in done.stderr


def test_server_that_ends_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with (
        pytest.raises(StepError, match=r"it ended:\n.*no release in var/releases yet"),
        Serving(tmp_path, Ports(offset=20_200)),
    ):
        raise AssertionError("it must not come up")
