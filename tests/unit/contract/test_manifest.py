"""Names, versions and settings of an archive: what is accepted, and that nothing else is."""

from typing import Any

import msgspec
import pytest

from marloft.contract.manifest import (
    ArchiveSidecar,
    Artifact,
    GoldenAnswer,
    Manifest,
    Measured,
    Name,
    Version,
    WorkerSettings,
    decode_golden,
)
from marloft.errors import ConfigError

MANIFEST = Manifest(
    name="ranker",
    version="1.0",
    runtime="onnx",
    artifact="model.onnx",
    handler="ranker.py",
    members={"ranker.py": "a" * 64},
    settings=WorkerSettings(workers=2),
    accepts=["application/json"],
    golden_tolerance=1e-4,
    parents={},
    requires={"numpy": "2.4.6"},
    sensitive_features_at_serving=[],
)


def test_manifest_reads_back_as_it_was_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MANIFEST), type=Manifest) == MANIFEST


@pytest.mark.parametrize("name", ["ranker", "r", "feed_ab_2", "a" * 63])
def test_name_is_accepted(name: str) -> None:
    assert msgspec.convert(name, Name) == name


@pytest.mark.parametrize("name", ["", "Ranker", "2nd", "a-b", "a b", "_a", "a" * 64, "a\n", "ä"])
def test_other_name_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, Name)


@pytest.mark.parametrize("version", ["0.0", "1.0", "10.23"])
def test_version_is_accepted(version: str) -> None:
    assert msgspec.convert(version, Version) == version


@pytest.mark.parametrize("version", ["", "1", "v1.0", "1.0.0", "01.0", "1.00", "1.0\n", "1.0 "])
def test_other_version_is_refused(version: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(version, Version)


@pytest.mark.parametrize(
    "setting", ["workers", "batch_size", "max_batch_delay_ms", "response_timeout_s"]
)
def test_setting_below_1_is_refused(setting: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=">= 1"):
        msgspec.convert({setting: 0}, WorkerSettings)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (Manifest, {**msgspec.to_builtins(MANIFEST), "format": 2}),
        (Manifest, {**msgspec.to_builtins(MANIFEST), "runtime": "pickle"}),
        (Manifest, {**msgspec.to_builtins(MANIFEST), "author": "me"}),
        (Artifact, {"file": "model.onnx"}),
        (Measured, {"load_s": "long"}),
    ],
)
def test_other_document_is_refused(kind: type[Any], document: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, kind)


def test_sidecar_without_a_run_of_the_handler_says_so() -> None:
    text = (
        '{"file": "ranker-1.0.mar", "name": "ranker", "version": "1.0", "sha256": "", '
        '"size_bytes": 1, "created": "", "config": "x.yaml"}'
    )
    assert msgspec.json.decode(text, type=ArchiveSidecar).measured is None


def test_golden_answers_are_read_line_by_line() -> None:
    answer = GoldenAnswer(request={"features": []}, expected={"scores": []})
    data = msgspec.json.Encoder().encode_lines([answer, answer])
    assert decode_golden(data) == [answer, answer]


def test_line_that_is_no_golden_answer_is_named() -> None:
    good = b'{"request": {}, "expected": {}}\n'
    with pytest.raises(ConfigError, match=r"golden\.jsonl:2: .*expected"):
        decode_golden(good + b'{"request": {}}\n')
