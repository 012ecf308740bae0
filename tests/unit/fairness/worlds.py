"""Predictions with fairness that is known: groups alike, or a planted gap."""

from pathlib import Path

import numpy as np
import polars as pl

from marloft.fairness.design import (
    Audit,
    BootstrapSettings,
    Decision,
    MitigationSettings,
    Parts,
    SensitiveFeature,
)
from marloft.fairness.predictions import write_predictions

MODEL = "ab" * 32


def world(
    *,
    users: int,
    rows_per_user: int,
    shifts: tuple[float, ...],
    spread: float = 0.05,
    seed: int = 0,
) -> pl.DataFrame:
    """Return predictions of users dealt to groups g0, g1, … whose scores are shifted by so much.

    `spread` is the standard deviation of a shift that all rows of one user share.
    """
    draw = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), rows_per_user)
    group = user % len(shifts)
    label = draw.random(len(user)) < 0.5
    own = draw.normal(scale=spread, size=users)[user]
    score = 0.5 + 0.15 * (2 * label - 1) + draw.normal(scale=0.2, size=len(user)) + own
    return pl.DataFrame(
        {
            "user_id": user,
            "label": label.astype(np.int8),
            "score": score + np.array(shifts)[group],
            "group": np.array([f"g{place}" for place in range(len(shifts))])[group],
            "age": 20 + 15 * group,
            "part": np.where(draw.random(len(user)) < 0.5, "valid", "test"),
        }
    )


def audit_of(table: pl.DataFrame, folder: Path, *, mitigate: bool = False) -> Audit:
    """Write the predictions and return the audit of `score >= 0.5` between the groups."""
    path = folder / "predictions.parquet"
    write_predictions(path, table, model_sha256=MODEL)
    return Audit(
        name="world",
        predictions=str(path),
        decision=Decision(score_at_least=0.5),
        sensitive_features={"group": SensitiveFeature(column="group")},
        bootstrap=BootstrapSettings(repeats=500),
        parts=Parts(column="part", evaluate="test") if mitigate else None,
        mitigation=MitigationSettings(feature="group", fit=["valid"]) if mitigate else None,
    )
