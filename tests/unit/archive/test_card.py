"""The model card: from the run's own numbers, whole, parsable, the same bytes each time."""

import hashlib
from pathlib import Path

import msgspec
import pytest
from huggingface_hub import ModelCard

from harness import factories
from harness.documents import fairness_report
from marloft.archive.card import Card, model_card, read_card
from marloft.archive.checks.documents import PLACEHOLDER, check_card
from marloft.errors import ConfigError
from marloft.files import write_json

RESULT = {
    "test_auc": 0.765432,
    "valid_auc": 0.77,
    "test_log_loss": 0.55,
    "best_epoch": 3,
    "epochs": 10,
    "seed": 2020,
    "seconds": 17.0,
    "config": {
        "model": {"embedding_dim": 16, "cross_layers": 2, "hidden": [64, 32]},
        "optimizer": {"learning_rate": 0.005, "weight_decay": 1.0},
    },
}
DATASET = {"rows": 100_000, "users": 943, "items": 1_682, "likes": 0.5537, "split_seed": 2020}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The shipped card over the files of a small run."""
    build = tmp_path / "build"
    factories.write_export(build / "export")
    artifact = build / "export" / "model.onnx"
    artifact.with_name("model.torchscript").write_bytes(b"traced")
    factories.write_sidecar(artifact.with_name("model.torchscript"), "torchscript")
    artifact.with_name("model.int8.onnx").write_bytes(b"quantized")
    factories.write_sidecar(artifact.with_name("model.int8.onnx"), "onnx")
    sha256 = hashlib.sha256(artifact.read_bytes()).hexdigest()
    write_json(build / "fairness" / "fairness.json", fairness_report(sha256))
    write_json(build / "train" / "result.json", RESULT)
    write_json(build / "data" / "dataset.json", DATASET)
    path = tmp_path / "training" / "card.yaml"
    path.parent.mkdir()
    path.write_text((factories.REPOSITORY / "training" / "card.yaml").read_text())
    return path


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_card_parses_and_every_section_has_content(config: Path) -> None:
    text = model_card(read_card(config))
    card = ModelCard(text)
    assert vars(card.data)["license"] == "apache-2.0"
    sections = card.text.split("\n## ")[1:]
    titles = [section.splitlines()[0] for section in sections]
    assert titles == [
        "Model details",
        "Intended use",
        "Data",
        "Training",
        "Metrics",
        "Fairness",
        "Limits",
    ]
    assert all(len(section.splitlines()) > 2 for section in sections)


def test_metadata_are_yaml_that_other_readers_parse(config: Path) -> None:
    text = model_card(read_card(config))
    assert msgspec.yaml.decode(text.split("---")[1])["pipeline_tag"] == "tabular-classification"


def test_numbers_are_the_runs(config: Path) -> None:
    text = model_card(read_card(config))
    artifact = config.parents[1] / "build" / "export" / "model.onnx"
    sha256 = hashlib.sha256(artifact.read_bytes()).hexdigest()
    assert "| test AUC | 0.7654 |" in text
    assert "| ratings | 100,000 |" in text
    assert "the decision `score ≥ 0.5` of model.onnx on 2,000 rows of 200 users" in text
    assert "| seed | 2020 |" in text
    assert "| hidden layers | 64, 32 |" in text
    assert "| gender: demographic parity difference | 0.020 [0.001, 0.040] | 0.05 | pass |" in text
    assert check_card(text.encode(), sha256)


def test_card_is_the_same_each_time_and_holds_no_timing(config: Path) -> None:
    text = model_card(read_card(config))
    assert text == model_card(read_card(config))
    assert "17.0" not in text
    assert "2026-01-01" not in text


@pytest.mark.parametrize("key", ["seconds", "config.created", "p99_ms"])
def test_timing_is_refused(config: Path, key: str) -> None:
    card = read_card(edit(config, "    seed: seed\n", f"    {key}: speed\n"))
    with pytest.raises(ConfigError, match="a card holds quality only"):
        model_card(card)


def test_nothing_is_left_open(config: Path) -> None:
    assert PLACEHOLDER not in model_card(read_card(config))
    left_open = edit(config, "MovieLens datasets", PLACEHOLDER)
    with pytest.raises(ConfigError, match="still says"):
        model_card(read_card(left_open))


def test_missing_number_names_the_nearest(config: Path) -> None:
    card = read_card(edit(config, "    best_epoch:", "    best_epoc:"))
    with pytest.raises(ConfigError, match=r"has no 'best_epoc'\. Did you mean 'best_epoch'"):
        model_card(card)


def test_audit_of_another_model_is_refused(config: Path) -> None:
    write_json(config.parents[1] / "build/fairness/fairness.json", fairness_report("cd" * 32))
    with pytest.raises(ConfigError, match="none of the card's artifacts"):
        model_card(read_card(config))


def test_card_without_audit_says_that_nothing_is_known(config: Path) -> None:
    card: Card = msgspec.structs.replace(read_card(config), fairness=None)
    assert "No audit was made" in model_card(card)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limits:", "limit:", "unknown key 'limit' at .* Did you mean 'limits'"),
        ("result.json", "results.json", r"training\.file: .*results\.json is no file"),
        ("summary: >", "summary: ''\nx: >", "unknown key|length >= 1"),
    ],
)
def test_mistakes_are_refused(config: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_card(edit(config, old, new))
