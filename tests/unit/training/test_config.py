"""The typed training configuration and its overrides."""

import ast
import inspect
import re
from itertools import pairwise
from pathlib import Path

import pytest

from marloft.errors import ConfigError
from marloft.training.config import TrainConfig, read_config, read_distil_config

CONFIG = Path(__file__).parents[3] / "training" / "config.yaml"


def test_read_config_reads_the_recipe_as_shipped() -> None:
    config = read_config(CONFIG)
    assert (config.data.split, config.seed, config.device) == ("random", 0, "cpu")


def test_overrides_replace_values_by_dotted_key() -> None:
    config = read_config(CONFIG, ["optimizer.learning_rate=0.5", "model.hidden=[8]", "out=x y"])
    assert config.optimizer.learning_rate == 0.5
    assert config.model.hidden == (8,)
    assert config.out == "x y"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "unknown key 'epoch'. Did you mean 'epochs'?"),
        ("optimizer.learnig_rate=3", "unknown key 'learnig_rate'. Did you mean 'learning_rate'?"),
        ("optimiser.learning_rate=3", "unknown group 'optimiser'. Did you mean 'optimizer'?"),
        ("epochs", "'epochs' has no '='; write --set key=value."),
        ("epochs=0", "Expected `int` >= 1 - at `$.epochs`"),
        ("epochs=[1", "'[1' is not a YAML value"),
        ("precision=fp16", "precision: fp16 needs device: cuda"),
        ("accumulation_steps=0", "Expected `int` >= 1 - at `$.accumulation_steps`"),
        ("early_stopping.pacience=3", "unknown key 'pacience'. Did you mean 'patience'?"),
        ("early_stopping.min_delta=-1", "Expected `float` >= 0.0"),
        ("checkpoint_every_steps=0", "Expected `int` >= 1 - at `$.checkpoint_every_steps`"),
        ("device=tpu", "Invalid enum value 'tpu' - at `$.device`"),
        ("model.hidden=[]", "Expected `array` of length >= 1"),
    ],
)
def test_a_wrong_override_is_refused_with_the_cure(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_config(CONFIG, [override])


def test_fp16_is_read_for_a_gpu() -> None:
    config = read_config(CONFIG, ["device=cuda", "precision=fp16"])
    assert (config.device, config.precision) == ("cuda", "fp16")


def test_a_distillation_is_read_and_overridden_like_a_run() -> None:
    config = read_distil_config(CONFIG.with_name("distil.yaml"), ["soft_weight=1"])
    assert (config.teacher, config.soft_weight) == ("build/train", 1.0)
    with pytest.raises(ConfigError, match=re.escape("Expected `float` <= 1.0")):
        read_distil_config(CONFIG.with_name("distil.yaml"), ["soft_weight=1.5"])


def test_an_unknown_key_of_the_file_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.read_text().replace("weight_decay", "weight_dacay"))
    with pytest.raises(ConfigError, match=r"'weight_dacay' at .*Did you mean 'weight_decay'\?"):
        read_config(path)


def test_a_missing_key_of_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.read_text().replace("seed: 0\n", ""))
    with pytest.raises(ConfigError, match="the file lacks 'seed'; add `seed: …`, an integer >= 0"):
        read_config(path)


def test_every_key_is_explained() -> None:
    tree = ast.parse(Path(inspect.getfile(TrainConfig)).read_text())
    unexplained = [
        ast.unparse(key)
        for group in tree.body
        if isinstance(group, ast.ClassDef)
        for key, after in pairwise([*group.body, ast.Pass()])
        if isinstance(key, ast.AnnAssign) and not isinstance(after, ast.Expr)
    ]
    assert unexplained == [
        "data: DataConfig",
        "model: ModelConfig",
        "optimizer: OptimizerConfig",
        "student: ModelConfig",
        "optimizer: OptimizerConfig",
    ]
