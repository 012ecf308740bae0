"""The stand-in answers as TorchServe's own loader and service do, batch by batch."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import factories
from marloft.archive.golden_requests import json_request
from marloft.archive.pack import pack
from marloft.archive.replay import replay
from marloft.archive.sandbox import handler_run
from marloft.archive.sandbox.handler_run import (
    WITHOUT_TORCHSERVE,
    reason_of,
    run_batches,
    unpack,
)
from marloft.archive.sandbox.handler_trial import HandlerError
from marloft.archive.sandbox.handler_worker import _TorchServe
from marloft.archive.sandbox.torchserve_stand_in import StandIn
from tests.unit.archive.sandbox.test_handler_run import ENDED

# TorchServe reads its metrics' file without closing it.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*metrics.yaml:ResourceWarning")

ECHO = """
class Echo:
    def initialize(self, context):
        self.name = context.model_name
        self.folder = context.system_properties["model_dir"]
        self.version = context.manifest["model"]["modelVersion"]

    def handle(self, data, context):
        {body}
"""
BODIES = {
    "all that it is told": "return [[self.name, self.folder, self.version, len(data), "
    "bytes(row['body']).decode(), context.get_request_id(i), context.get_all_request_header(i), "
    "context.get_request_header(i, 'x-one')] for i, row in enumerate(data)]",
    "bytes, text and JSON": "return [b'x', 'y', {'z': 1}][:len(data)]",
    "a status each": "[context.set_response_status(code=400 + i, phrase='no', idx=i) "
    "for i, _ in enumerate(data)]; context.set_response_content_type(0, 'text/plain'); "
    "context.set_response_header(0, 'x-two', '2'); return ['a'] * len(data)",
    "a failure": "raise KeyError('planted')",
    "one answer too few": "return data[1:]",
    "no list": "return tuple('abc')",
    "what JSON cannot hold": "return [{1, 2}] * len(data)",
}
FUNCTION = """
def handle(data, context):
    return None if data is None else [str(len(data))] * len(data)
"""


def request(place: int, body: bytes) -> dict[str, Any]:
    headers = {"content-type": "application/octet-stream", "x-one": str(place)}
    return {"place": place, "headers": headers, "body": bytearray(body)}


BATCHES = [
    [request(0, b"first")],
    [request(1, b"{}"), request(0, b"first"), request(2, b"\xc3\xa9")],
]


def written(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write an unpacked archive whose handler is `source`; its module can be imported."""
    (folder / "MAR-INF").mkdir()
    (folder / f"{name}.py").write_text(source)
    model = {"handler": f"{name}.py", "modelName": "echo", "modelVersion": "1.0"}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": model}))
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.mark.parametrize("said", BODIES)
def test_it_answers_as_torchserve_does(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"echo_{list(BODIES).index(said)}"
    folder = written(tmp_path, name, ECHO.format(body=BODIES[said]), monkeypatch)
    theirs, ours = _TorchServe(folder, "echo", 3), StandIn(folder, "echo", 3)
    for batch in BATCHES:
        assert ours.answer(batch) == theirs.answer(batch)


def test_function_is_a_handler_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, "as_function", FUNCTION, monkeypatch)
    theirs, ours = _TorchServe(folder, "echo", 3), StandIn(folder, "echo", 3)
    for batch in BATCHES:
        assert ours.answer(batch) == theirs.answer(batch) != []


@pytest.mark.parametrize(
    "source", ["class A:\n    pass\n\nclass B:\n    pass\n", "class A:\n    pass\n", "x = 1\n"]
)
def test_file_without_one_handler_is_refused(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path, f"refused_{len(source)}", source, monkeypatch)
    for load in (_TorchServe, StandIn):
        with pytest.raises(ValueError, match=r"class|handle"):
            load(folder, "echo", 1)


@pytest.fixture
def without_torchserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `pack` and `replay` find no TorchServe."""
    for module in ("handler_run", "handler_trial"):
        monkeypatch.setattr(f"marloft.archive.sandbox.{module}.has_torchserve", lambda: False)
    monkeypatch.setattr("marloft.archive.replay.has_torchserve", lambda: False)


def answers(project: Path, file: str, scratch: Path) -> Any:
    """Return what a packed archive answers, without what differs from time to time."""
    scratch.mkdir()
    archive = unpack(project / file, scratch)
    places = list(range(len(archive.requests)))
    requests = [*archive.requests, json_request(b"{")]
    batches = [[0], [*places, len(places)], places[::-1]]
    process, answered = run_batches(archive, requests, batches)
    assert answered is not None, process.log
    return [
        [(each.status, msgspec.json.decode(each.body) | {"latency_ms": 0}) for each in batch]
        for batch in answered.batches
    ]


@pytest.mark.slow
def test_onnx_archive_answers_the_same_with_and_without_torchserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project = factories.write_project(tmp_path / "project")
    file = pack(project / "archive_configs" / "ranker_v1.yaml", project).file
    assert caplog.messages == []
    with_it = answers(project, file, tmp_path / "with")
    monkeypatch.setattr(handler_run, "has_torchserve", lambda: False)
    without = answers(project, file, tmp_path / "without")
    assert without == with_it
    assert [status for status, _ in without[1]] == [200] * 6 + [400]


@pytest.mark.slow
@pytest.mark.usefixtures("without_torchserve")
def test_trial_and_replay_say_that_torchserve_was_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = factories.write_project(tmp_path)
    sidecar = pack(project / "archive_configs" / "ranker_v1.yaml", project)
    assert caplog.messages == [f"ranker: {WITHOUT_TORCHSERVE}."]
    assert sidecar.measured is not None
    assert sidecar.measured.answers == 6 * 5 + 3 + 3
    report = replay(project / sidecar.file)
    assert report.ok
    assert [check.code for check in report.checks if WITHOUT_TORCHSERVE in check.message] == [
        "MRL020"
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("without_torchserve")
def test_handler_that_fails_is_refused_with_its_line(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    handler = project / "handlers" / "ranker.py"
    text = handler.read_text()
    handler.write_text(
        text.replace(
            "return encode(self", "raise KeyError('planted')\n        return encode(self", 1
        )
    )
    with pytest.raises(HandlerError, match=r"ranker\.py:\d+: .*(503|KeyError)"):
        pack(project / "archive_configs" / "ranker_v1.yaml", project / "store")


def test_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marloft.archive.sandbox.handler_run.extra_of", lambda _: "serve")
    log = "Traceback\nModuleNotFoundError: No module named 'torch'\n"
    assert reason_of(ENDED, log).endswith("'torch'; pip install 'marloft[serve]'")
    assert reason_of(ENDED, "KeyError: 'torch'\n") == "KeyError: 'torch'"
