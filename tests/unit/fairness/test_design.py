"""`AUDIT.yaml`: what is refused, and with which cure."""

from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from marloft.errors import ConfigError
from marloft.fairness.design import read_audit

SHIPPED = REPOSITORY / "training" / "audit.yaml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "training" / "audit.yaml"
    path.parent.mkdir()
    path.write_text(SHIPPED.read_text())
    return path


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_shipped_audit_is_valid_and_predictions_are_relative_to_it(config: Path) -> None:
    audit = read_audit(config)
    assert audit.predictions == str(config.parents[1] / "build/fairness/predictions.parquet")
    assert sorted(audit.sensitive_features) == ["age_band", "gender"]
    assert audit.threshold == 0.05


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threshold: 0.05", "treshold: 0.05", "unknown key 'treshold' at .* Did you mean"),
        ("repeats: 2000", "repeat: 2000", "unknown key 'repeat' at .* Did you mean 'repeats'"),
        ("edges: [25, 35, 50]", "edges: [35, 25]", "must ascend"),
        ("feature: age_band", "feature: age_bands", "Did you mean 'age_band'"),
        ("fit: [valid]", "fit: [valid, test]", "mitigation.fit holds 'test'"),
        ("parts: {column: part, evaluate: test}\n", "", "mitigation needs `parts`"),
        ("predictions.parquet", "predictions.csv", "is not a parquet file"),
        ("threshold: 0.05", "threshold: 0", "threshold is 0, must be a number > 0"),
        (
            "constraint: demographic_parity",
            "constraint: parity",
            "constraint is 'parity', must be one of",
        ),
    ],
)
def test_mistakes_are_refused(config: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_audit(edit(config, old, new))
