"""`training/config.yaml` and `distil.yaml`, typed: every key, its range and its meaning.

No key has a default: the file shows all that a run depends on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from marloft import files
from marloft.errors import ConfigError, nearest

T = TypeVar("T")
Positive = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Rate = Annotated[float, Meta(ge=0, lt=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Split = Literal["random", "chronological"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]


class DataConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the run reads."""

    folder: str
    """A folder that `marloft data prepare` wrote."""
    split: Split
    """Which of the two splits names the train, valid and test rows."""
    oov_rate: Rate
    """Share of training rows whose user (and, independently, item) is replaced by the unknown one,
    so that row 0 of the tables learns what is true of all users and items."""


class ModelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the ranker (DCN-V2 with FM)."""

    embedding_dim: Positive
    """Width of the embedding of each field."""
    cross_layers: Positive
    """Number of cross layers; each multiplies the fields with each other once more."""
    hidden: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    """Widths of the deep part's layers."""
    init_std: PositiveFloat
    """Standard deviation of the initial embeddings."""


class OptimizerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AdamW (Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019)."""

    learning_rate: PositiveFloat
    """Step size."""
    weight_decay: NotNegative
    """Decoupled weight decay, per step and multiplied by the step size."""


class EarlyStopping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a run ends before its last epoch."""

    patience: Positive
    """Epochs without progress after which the run stops."""
    min_delta: NotNegative
    """How far the valid AUC must exceed the best one seen to count as progress."""


class TrainConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run."""

    out: str
    """Folder of what the run writes: weights, checkpoint, metrics, result."""
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    epochs: Positive
    """Passes over the training rows, at most; the epoch with the best valid AUC is kept."""
    batch_size: Positive
    """Rows of one forward and backward pass over all processes together, so that it means the
    same on any number."""
    accumulation_steps: Positive
    """Passes whose gradients are added up before the optimizer takes a step."""
    precision: Precision
    """What the forward and backward pass compute in; weights, summed gradients and the optimizer
    stay fp32. bf16 keeps fp32's range; fp16 scales the loss, and needs device: cuda."""
    activation_checkpointing: bool
    """Recompute each block's activations in the backward pass instead of keeping them."""
    early_stopping: EarlyStopping | None
    """null: always take all epochs."""
    checkpoint_every_steps: Positive | None
    """Save every so many optimizer steps within an epoch, and after each epoch; null: only after
    each epoch."""
    seed: Annotated[int, Meta(ge=0)]
    """Seed of the initial weights and of the order of the rows."""
    device: Device
    """cpu (gloo) or cuda (nccl, one GPU per process)."""

    def __post_init__(self) -> None:
        """Refuse keys that contradict each other."""
        if self.precision == "fp16" and self.device == "cpu":
            raise ValueError(
                "precision: fp16 needs device: cuda (fp16 is a GPU's format); use bf16 or fp32 on "
                "the CPU, or set device: cuda"
            )


class DistilConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One distillation, `training/distil.yaml`; data and split are those of the teacher's run."""

    teacher: str
    """Folder of the run that trained the teacher."""
    out: str
    """Folder of the student's weights and result."""
    export: str
    """Folder of exported models; student.onnx is written there."""
    student: ModelConfig
    optimizer: OptimizerConfig
    soft_weight: Share
    """Weight of the teacher's scores in the target; the rest is the label. 0 learns from labels
    alone, which is the comparison to make."""
    epochs: Positive
    """Passes over the training rows; the epoch with the best valid AUC is kept."""
    batch_size: Positive
    """Rows of one step over all processes together."""
    seed: Annotated[int, Meta(ge=0)]
    """Seed of the initial weights and of the order of the rows."""


def read_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read the file and apply overrides such as `optimizer.learning_rate=0.01`.

    Raises:
        ConfigError: the file or an override has an unknown key (reported with the nearest known
            one), a wrong type or a value out of range.
    """
    return _read(path, TrainConfig, overrides)


def read_distil_config(path: Path, overrides: Sequence[str] = ()) -> DistilConfig:
    """Read the file of a distillation, as `read_config` does."""
    return _read(path, DistilConfig, overrides)


def _read(path: Path, kind: type[T], overrides: Sequence[str]) -> T:
    config = files.read_yaml(path, kind)
    for override in overrides:
        config = _override(config, kind, override)
    return config


def _override(config: T, kind: type[T], override: str) -> T:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override!r} has no '='; write --set key=value.")
    values: dict[str, Any] = msgspec.to_builtins(config)
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        node = _child(node, parent, override)
    if last not in node:
        raise ConfigError(f"--set {override}: unknown key {last!r}.{nearest(last, node)}")
    try:
        node[last] = msgspec.yaml.decode(text.encode())
    except msgspec.DecodeError:
        raise ConfigError(f"--set {override}: {text!r} is not a YAML value; quote it.") from None
    return files.parse_json(msgspec.json.encode(values), kind, f"--set {override}")


def _child(node: dict[str, Any], name: str, override: str) -> dict[str, Any]:
    groups = [key for key, value in node.items() if isinstance(value, dict)]
    if name not in groups:
        raise ConfigError(f"--set {override}: unknown group {name!r}.{nearest(name, groups)}")
    child: dict[str, Any] = node[name]
    return child
