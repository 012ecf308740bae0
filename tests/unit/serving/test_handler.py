"""The base class of handlers: whatever names a user takes, its batches are run as before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from harness import factories
from marloft import serving
from marloft.runtimes import Arrays
from marloft.serving import LoadedArchive, Prediction, Request
from marloft.serving.batch_runner import BatchRunner
from marloft.serving.handler import runner_of
from marloft.tracebacks import read_failures
from tests.unit.serving.driver import FAULT_IN_PREDICT, Sent, Server, TinyRanker

ASKED = [
    factories.body(7, [3, 1], request_id="a"),
    factories.body(7, ["x"], request_id="b"),
    factories.body(7, [FAULT_IN_PREDICT], request_id="c"),
    Sent(body=b"", headers={"x-marloft": "probe=1"}),
]
# What the engine called its own while it was the base class itself, and what it may be called.
USUAL = (
    *("_archive", "_encoder", "_golden", "_intake", "_log", "_log_failure", "_metrics", "_recent"),
    *("_admit", "_answer", "_compose", "_fail", "_open", "_predict_together", "_rehearse", "_run"),
    *("_var", "_warm_up", "_write_log"),
    *("archive", "context", "log", "metrics", "run", "runner", "_handler", "_runner", "_start"),
    *("_Handler__runner", "_BatchRunner__handler"),
)


def answers(server: Server) -> list[tuple[int, dict[str, Any]]]:
    return [(a.status, a.body | {"latency_ms": None}) for a in server.ask(*ASKED)]


def records(server: Server) -> list[dict[str, Any]]:
    times = dict.fromkeys(("time", "latency_ms", "predict_ms"))
    return [
        record | times | {"stages": list(record["stages"]), "extra": None}
        for record in server.records()
    ]


def names_of(runner: BatchRunner) -> set[str]:
    """Return every name of the engine that a user's handler is free to take."""
    return {*vars(BatchRunner), *vars(runner), *USUAL} - set(dir(serving.Handler))


def test_attributes_of_any_name_break_nothing_and_are_kept(
    server: Server, serve: Callable[[serving.Handler], Server]
) -> None:
    expected, logged = answers(server), records(server)
    names = names_of(runner_of(server.handler))

    class Cluttered(TinyRanker):
        def load(self, archive: LoadedArchive) -> None:
            super().load(archive)
            for name in names:
                setattr(self, name, f"the user's {name}")

    cluttered = serve(Cluttered())
    assert answers(cluttered) == expected
    assert records(cluttered)[len(logged) :] == logged
    assert {getattr(cluttered.handler, name) for name in names} == {
        f"the user's {n}" for n in names
    }


def test_methods_of_any_name_are_never_called(
    server: Server, serve: Callable[[serving.Handler], Server]
) -> None:
    expected, logged = answers(server), records(server)

    def planted(*_: Any, **__: Any) -> None:
        raise AssertionError("the engine called a method of the user's")

    names = names_of(runner_of(server.handler))
    assert {"_admit", "_run", "_log", "_write_log", "start"} <= names
    cluttered = serve(type("Cluttered", (TinyRanker,), dict.fromkeys(names, planted))())
    assert answers(cluttered) == expected
    assert records(cluttered)[len(logged) :] == logged


class Handler(TinyRanker):
    """A user's class of the base class's own name, with attributes that Python mangles alike."""

    def load(self, archive: LoadedArchive) -> None:
        super().load(archive)
        self.__runner = self.__handler = "the user's"

    def encode(self, request: Request, outputs: Arrays) -> Prediction:
        assert self.__runner == self.__handler == "the user's"
        return super().encode(request, outputs)


@dataclass
class Unhashable(TinyRanker):
    """Has `__eq__` and therefore no `__hash__`."""

    tables: Any = None


class Forgetful(TinyRanker):
    """Begins with no attributes at all."""

    def load(self, archive: LoadedArchive) -> None:
        vars(self).clear()
        super().load(archive)


@pytest.mark.parametrize("user", [Handler, type("Handler", (Handler,), {}), Unhashable, Forgetful])
def test_class_of_any_kind_is_served(
    server: Server, serve: Callable[[serving.Handler], Server], user: type[serving.Handler]
) -> None:
    assert answers(serve(user())) == answers(server)


def test_two_handlers_of_a_process_have_an_engine_each(
    serve: Callable[[serving.Handler], Server],
) -> None:
    first, second = serve(TinyRanker()).handler, serve(TinyRanker()).handler
    assert runner_of(first) is not runner_of(second)


@pytest.mark.parametrize("raised", [SystemExit(3), KeyError("tables"), RuntimeError("no GPU")])
def test_failure_to_load_is_logged_with_its_traceback_and_passes(
    serve: Callable[[serving.Handler], Server],
    caplog: pytest.LogCaptureFixture,
    raised: BaseException,
) -> None:
    class Failing(TinyRanker):
        def load(self, archive: LoadedArchive) -> None:  # noqa: ARG002 - the signature of load
            raise raised

    with pytest.raises(type(raised)):
        serve(Failing())
    # `sys.exit` would leave nothing else in TorchServe's log.
    (failure,) = read_failures(caplog.text.split("\n"))
    assert failure.shown.error.startswith(type(raised).__name__)
    assert failure.shown.frame is not None
    assert failure.shown.frame.place.startswith("tests/unit/serving/test_handler.py:")
