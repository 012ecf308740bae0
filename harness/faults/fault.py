"""One thing that goes wrong, and how it is seen."""

import subprocess
from collections.abc import Callable

from msgspec import Struct


def nothing() -> None:
    """Do nothing: for what the service has to help itself with."""


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that goes wrong.

    `begin` makes it so, `end` is what a person does about it. `named` is what `status` has to say
    meanwhile, as a regular expression. `brief` faults may be over before anybody asks: then the
    console tells of them. `harmless` ones need not be told while nothing fails. `restarts` says
    that the supervisor ends, which is then started again as an init would. `prepare` is done
    before, at leisure.
    """

    name: str
    named: str
    begin: Callable[[], object]
    end: Callable[[], object] = nothing
    brief: bool = False
    harmless: bool = False
    restarts: bool = False
    hold_s: float = 6.0
    prepare: Callable[[], object] = nothing


def run_program(*command: str) -> None:
    """Run a program of the system; raises CalledProcessError when it fails."""
    subprocess.run(command, check=True, capture_output=True)
