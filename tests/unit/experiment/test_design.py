from pathlib import Path

import pytest

from marloft.contract.release import Arm
from marloft.errors import ConfigError
from marloft.experiment.design import allocation_of, design_hash, read_experiment

ROOT = Path(__file__).parents[3]
SOURCE = (ROOT / "workflows/feed_ab/experiment.yaml").read_text()


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["feed_ab", "feed_planted"])
def test_shipped_experiment_is_named_after_its_folder(name: str) -> None:
    experiment = read_experiment(ROOT / "workflows" / name / "experiment.yaml")
    assert (experiment.name, experiment.salt) == (name, name)


def test_salt_defaults_to_the_name(tmp_path: Path) -> None:
    experiment = read_experiment(write(tmp_path, SOURCE.replace("salt: feed_ab\n", "")))
    assert experiment.salt == "feed_ab"


def test_allocation_carries_the_arms_in_order(tmp_path: Path) -> None:
    split = allocation_of(read_experiment(write(tmp_path, SOURCE)))
    assert split.arms == [
        Arm(name="control", version="1.0", weight=50),
        Arm(name="treatment", version="2.0", weight=50),
    ]


def test_design_hash_ignores_weights_comments_and_left_out_defaults(tmp_path: Path) -> None:
    original = design_hash(read_experiment(write(tmp_path, SOURCE)))
    changed = SOURCE.replace("weight: 50", "weight: 7").replace("  ctr_harm: 0.0\n", "# x\n")
    assert design_hash(read_experiment(write(tmp_path, changed))) == original


@pytest.mark.parametrize(
    ("old", "new"), [("0.10", "0.20"), ('"2.0"', '"3.0"'), ("salt: feed_ab", "salt: other")]
)
def test_design_hash_changes_with_the_design(tmp_path: Path, old: str, new: str) -> None:
    original = design_hash(read_experiment(write(tmp_path, SOURCE)))
    assert design_hash(read_experiment(write(tmp_path, SOURCE.replace(old, new)))) != original


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ctr_margin", "ctr_margn", "Did you mean 'ctr_margin'"),
        ("name: treatment", "name: control", "'control' is used twice"),
        ("weight: 50}", "weight: 0}", ">= 1"),
        ("ctr_harm: 0.0", "ctr_harm: 0.5", "ctr_harm 0.5 is above ctr_margin 0.1"),
        ("unit: user_id", "unit: session", "unit"),
        ("60s", "soon", "duration"),
    ],
)
def test_wrong_design_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_experiment(write(tmp_path, SOURCE.replace(old, new)))
