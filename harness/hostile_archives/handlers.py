"""Handlers that fail or do harm when they run: what only a replay can find."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.hostile_archives.building import Members, rehash, without, write
from marloft.archive.sandbox.confinement import Limits

LIMITS = Limits(wall_s=60.0)
SHORT = Limits(wall_s=2.5)
HANDLER, GOLDEN = "ranker.py", "golden.jsonl"


class HostileHandler(NamedTuple):
    """The handler of an archive that passes every static check and is refused when it runs.

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


NOT_LOADED = [("MRL020", HANDLER)]
RUNAWAY = [("MRL023", HANDLER)]
WRONG_ANSWERS = [("MRL021", f"{GOLDEN}:1"), ("MRL022", f"{GOLDEN}:1")]


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
        return Ranking("""
_WRITES_ANSWERS = "import os, sys; os.{}('/etc/passwd', sys.argv[3]); os._exit(0)"
HOSTILE_HANDLERS = (
    HostileHandler(
        "fails in import", NOT_LOADED, _at_import("import gone_with_the_wind"), "gone_with_the_wind"
    ),
    HostileHandler(
        "fails in load", NOT_LOADED, _at_load("raise KeyError('planted')"), "KeyError: 'planted'"
    ),
    HostileHandler(
        "has no class any more", NOT_LOADED, _replaced("class RankerHandler(Handler)", "if True")
    ),
    HostileHandler(
        "artifact is no model",
        NOT_LOADED,
        lambda m: without(m, "model_card.md", "fairness.json") | {"model.onnx": b"no model"},
    ),
    HostileHandler(
        "fails in predict",
        NOT_LOADED,
        _predict("raise RuntimeError('planted')"),
        "RuntimeError: planted",
    ),
    HostileHandler(
        "fails once it has warmed up",
        WRONG_ANSWERS,
        _replaced("return Ranking(", _LATER),
        "status 500",
    ),
    HostileHandler(
        "returns too few rows",
        NOT_LOADED,
        _predict('return {"score": self.model.run(inputs)["score"][:-1]}'),
        "predict returned 49 rows of 'score' for 50 inputs",
    ),
    HostileHandler(
        "mixes requests up",
        [("MRL022", f"{GOLDEN}:1")],
        _predict('return {"score": self.model.run(inputs)["score"] + (len(inputs["user"]) > 50)}'),
    ),
    HostileHandler(
        "golden answer of another model",
        WRONG_ANSWERS,
        _replaced('"prediction":[50]', '"prediction":[51]', GOLDEN),
    ),
    HostileHandler("exits at import", NOT_LOADED, _at_import("import os; os._exit(0)"), "status 0"),
    HostileHandler(
        "ends by a signal",
        NOT_LOADED,
        _at_load("import os; os.kill(os.getpid(), 11)"),
        "Segmentation fault",
    ),
    HostileHandler("sleeps", RUNAWAY, _at_load("import time; time.sleep(60)"), "in time", SHORT),
    HostileHandler(
        "computes for ever",
        RUNAWAY,
        _at_load("while True: pass"),
        "processor time",
        Limits(wall_s=60.0, cpu_s=3),
    ),
    HostileHandler(
        "leaves a process behind",
        RUNAWAY,
        _at_load("import subprocess; subprocess.Popen(['sleep', '60'])"),
        "left processes",
    ),
    HostileHandler(
        "leaves a daemon behind",
        RUNAWAY,
        _at_load("import os, time; os.fork() or (os.setsid(), os.fork(), time.sleep(60))"),
        "left processes",
    ),
    HostileHandler(
        "takes all memory", NOT_LOADED, _at_load("self.hoard = bytearray(1 << 45)"), "MemoryError"
    ),
    HostileHandler(
        "writes outside",
        NOT_LOADED,
        _at_load("import pathlib; pathlib.Path('/var/tmp/hostile').write_text('x')"),
        "Read-only file system",
        needs="mounts",
    ),
    HostileHandler(
        "talks to the network",
        NOT_LOADED,
        _at_load("import socket; socket.create_connection(('127.0.0.1', 22), 2)"),
        "Network is unreachable",
        needs="network",
    ),
    HostileHandler(
        "kills its launcher",
        NOT_LOADED,
        _at_load("import os; os.kill(os.getppid(), 9); assert False, 'still here'"),
        needs="processes",
    ),
    HostileHandler("answers by a link", NOT_LOADED, _at_load(_WRITES_ANSWERS.format("symlink"))),
)
