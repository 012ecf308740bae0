"""Handlers that fail or do harm when they run: what only a replay can find."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from marloft.archive.sandbox.confinement import Limits
from tests.hostile_archives.building import Members, rehash, without, write

LIMITS = Limits(wall_s=60.0)
SHORT = Limits(wall_s=2.5)
HANDLER, GOLDEN = "ranker.py", "golden.jsonl"


class Beast(NamedTuple):
    """One archive that passes every static check and is refused when it runs.

    `found` are the codes with their culprits; `says` is part of the first one's message; `needs`
    names what the kernel has to grant, a field of Isolation, for it to be found.
    """

    name: str
    found: list[tuple[str, str]]
    change: Callable[[Members], Members]
    says: str = ""
    limits: Limits = LIMITS
    needs: str = "limits"

    def write(self, members: Members, path: Path) -> Path:
        """Write the archive with hashes that agree."""
        return write(path, rehash(self.change(members)))


LOADS = [("MRL020", HANDLER)]
STRAYS = [("MRL023", HANDLER)]
ANSWERS = [("MRL021", f"{GOLDEN}:1"), ("MRL022", f"{GOLDEN}:1")]


def _at_import(code: str) -> Callable[[Members], Members]:
    return lambda members: members | {HANDLER: f"{code}\n".encode() + members[HANDLER]}


def _at_load(code: str) -> Callable[[Members], Members]:
    return _replaced("super().load(archive)", f"super().load(archive)\n        {code}")


def _replaced(old: str, new: str, member: str = HANDLER) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        assert old.encode() in members[member]
        return members | {member: members[member].replace(old.encode(), new.encode(), 1)}

    return change


def _predict(code: str) -> Callable[[Members], Members]:
    body = f"\n    def predict(self, inputs: Arrays) -> Arrays:\n        {code}\n\n    def decode("
    return _replaced("\n    def decode(", body)


# A worker warms up with the six golden requests, alone and in one batch.
_LATER = """self.calls = getattr(self, "calls", 0) + 1
        assert self.calls <= 12, "planted"
        ranked = rank("""
_WRITES_ANSWERS = "import os, sys; os.{}('/etc/passwd', sys.argv[3]); os._exit(0)"
BEASTS = (
    Beast("fails in import", LOADS, _at_import("import gone_with_the_wind"), "gone_with_the_wind"),
    Beast("fails in load", LOADS, _at_load("raise KeyError('planted')"), "KeyError: 'planted'"),
    Beast("has no class any more", LOADS, _replaced("class RankerHandler(Handler)", "if True")),
    Beast(
        "artifact is no model",
        LOADS,
        lambda m: without(m, "model_card.md", "fairness.json") | {"model.onnx": b"no model"},
    ),
    Beast(
        "fails in predict",
        LOADS,
        _predict("raise RuntimeError('planted')"),
        "RuntimeError: planted",
    ),
    Beast(
        "fails once it has warmed up",
        ANSWERS,
        _replaced("ranked = rank(", _LATER),
        "status 500",
    ),
    Beast(
        "returns too few rows",
        LOADS,
        _predict('return {"score": self.model.run(inputs)["score"][:-1]}'),
        "predict returned 49 rows of 'score' for 50 inputs",
    ),
    Beast(
        "mixes requests up",
        [("MRL022", f"{GOLDEN}:1")],
        _predict('return {"score": self.model.run(inputs)["score"] + (len(inputs["user"]) > 50)}'),
    ),
    Beast(
        "golden answer of another model",
        ANSWERS,
        _replaced('"prediction":[50]', '"prediction":[51]', GOLDEN),
    ),
    Beast("exits at import", LOADS, _at_import("import os; os._exit(0)"), "status 0"),
    Beast(
        "ends by a signal",
        LOADS,
        _at_load("import os; os.kill(os.getpid(), 11)"),
        "status -11",
    ),
    Beast("sleeps", STRAYS, _at_load("import time; time.sleep(60)"), "in time", SHORT),
    Beast(
        "computes for ever",
        STRAYS,
        _at_load("while True: pass"),
        "processor time",
        Limits(wall_s=60.0, cpu_s=3),
    ),
    Beast(
        "leaves a process behind",
        STRAYS,
        _at_load("import subprocess; subprocess.Popen(['sleep', '60'])"),
        "left processes",
    ),
    Beast(
        "leaves a daemon behind",
        STRAYS,
        _at_load("import os, time; os.fork() or (os.setsid(), os.fork(), time.sleep(60))"),
        "left processes",
    ),
    Beast("takes all memory", LOADS, _at_load("self.hoard = bytearray(1 << 45)"), "MemoryError"),
    Beast(
        "writes outside",
        LOADS,
        _at_load("import pathlib; pathlib.Path('/var/tmp/zoo').write_text('x')"),
        "Read-only file system",
        needs="mounts",
    ),
    Beast(
        "talks to the network",
        LOADS,
        _at_load("import socket; socket.create_connection(('127.0.0.1', 22), 2)"),
        "Network is unreachable",
        needs="network",
    ),
    Beast(
        "kills its keeper",
        LOADS,
        _at_load("import os; os.kill(os.getppid(), 9); assert False, 'still here'"),
        needs="processes",
    ),
    Beast("answers by a link", LOADS, _at_load(_WRITES_ANSWERS.format("symlink"))),
)
