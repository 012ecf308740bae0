"""An audit as it is written down: `AUDIT.yaml`."""

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from marloft.contract.manifest import Name
from marloft.errors import ConfigError, nearest
from marloft.files import read_yaml

Text = Annotated[str, Meta(min_length=1)]
Share = Annotated[float, Meta(gt=0, lt=1)]
Constraint = Literal["demographic_parity", "equalized_odds", "true_positive_rate_parity"]


class Decision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decision that is judged: a row is selected when its score is at least this."""

    score_at_least: float


class SensitiveFeature(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column whose values are the groups, or with `edges` a number cut into bands.

    `edges` [25, 35] makes the bands <25, 25 to 34 and 35+: each edge begins a band.
    """

    column: Text
    edges: list[float] = []

    def __post_init__(self) -> None:
        """Refuse edges that do not ascend."""
        if sorted(set(self.edges)) != self.edges:
            raise ValueError(f"edges {self.edges} must ascend, each once")


class Parts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows are judged: those whose `column` says `evaluate`."""

    column: Text
    evaluate: Text


class BootstrapSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How intervals are made: the number of resamples of whole units, and their seed."""

    repeats: Annotated[int, Meta(ge=200, le=100_000)] = 2_000
    seed: Annotated[int, Meta(ge=0)] = 0


class MitigationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Group-specific thresholds for one feature, learned on the rows of the parts in `fit`."""

    feature: Text
    fit: Annotated[list[str], Meta(min_length=1)]
    constraint: Constraint = "demographic_parity"
    objective: Literal["accuracy_score", "balanced_accuracy_score"] = "accuracy_score"


class Audit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One audit; `predictions` is relative to the file.

    `predictions` is a parquet file of one row per decision with the columns `unit` (what is
    resampled: the rows of one user are not independent), `label` (0 or 1), `score` and the columns
    of the features. `intersections` lists features whose combinations are judged as well.
    `threshold` is for differences, `ratio_threshold` for ratios. A group of fewer than `min_units`
    units gets no verdict, since a bootstrap of few units gives too narrow intervals.
    """

    name: Name
    predictions: Text
    decision: Decision
    sensitive_features: Annotated[dict[str, SensitiveFeature], Meta(min_length=1)]
    unit: Text = "user_id"
    label: Text = "label"
    score: Text = "score"
    parts: Parts | None = None
    intersections: list[Annotated[list[str], Meta(min_length=2)]] = []
    threshold: Share = 0.05
    ratio_threshold: Share = 0.8
    confidence: Annotated[float, Meta(ge=0.5, lt=1)] = 0.95
    min_units: Annotated[int, Meta(ge=2)] = 20
    bootstrap: BootstrapSettings = BootstrapSettings()
    mitigation: MitigationSettings | None = None

    def __post_init__(self) -> None:
        """Refuse features that are not declared, and a mitigation without parts to learn on."""
        named = [feature for group in self.intersections for feature in group]
        if self.mitigation is not None:
            named.append(self.mitigation.feature)
        for feature in named:
            if feature not in self.sensitive_features:
                hint = nearest(feature, self.sensitive_features)
                raise ValueError(f"{feature!r} is not among sensitive_features.{hint}")
        if self.mitigation is not None and self.parts is None:
            raise ValueError("mitigation needs `parts`, to learn and to judge on different rows")
        if self.mitigation and self.parts and self.parts.evaluate in self.mitigation.fit:
            raise ValueError(
                f"mitigation.fit holds {self.parts.evaluate!r}, the part that is judged; leave it "
                "out"
            )


def read_audit(path: Path) -> Audit:
    """Read `AUDIT.yaml` and make `predictions` relative to the working directory.

    Raises:
        ConfigError: the file is missing or wrong; for an unknown key it names the nearest one.
    """
    audit = read_yaml(path, Audit)
    if Path(audit.predictions).suffix != ".parquet":
        raise ConfigError(
            f"{path}: predictions {audit.predictions!r} is not a parquet file; write *.parquet."
        )
    predictions = os.path.normpath(path.parent / audit.predictions)
    return msgspec.structs.replace(audit, predictions=predictions)
