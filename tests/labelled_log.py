"""A log of a classifier whose users told what was true, and the groups that they belong to."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from marloft.contract.answers import Classification
from marloft.contract.encode_answer import encode_answer
from marloft.contract.records import OUTCOMES_FOLDER, PREDICTIONS_FOLDER
from marloft.contract.response import ClassificationResponse
from marloft.files import write_atomic
from tests.unit.logs.test_read import outcome, prediction

LABELS = ("bad", "good")
_RESPONSE = ClassificationResponse(labels=list(LABELS))
_ROWS = 4


def write_labelled_log(folder: Path, *, users: int = 200, shift: float = 0.0) -> None:
    """Write `var/log` and `build/groups.parquet`: an answer of four rows for each user.

    Args:
        folder: the project's.
        users: every other one of them belongs to group g1.
        shift: how much larger the probability of `good` is for group g1.
    """
    draw = np.random.default_rng(5)
    answers, labels = [], []
    for user in range(users):
        truth = draw.random(_ROWS) < 0.5
        good = (
            0.5 + 0.2 * (2 * truth - 1) + draw.normal(scale=0.15, size=_ROWS) + shift * (user % 2)
        )
        good = np.clip(good, 0, 1)
        answer = encode_answer(Classification(np.stack([1 - good, good], 1)), _RESPONSE, _ROWS)
        parts = {"response": "classification", "entries": answer.entries, **answer.parts()}
        answers.append(prediction(f"r{user}", user_id=str(user), **parts))
        labels += [
            outcome(f"r{user}", row, event="label", value=LABELS[int(truth[row])], schema=2)
            for row in range(_ROWS)
        ]
    encode = msgspec.json.Encoder().encode_lines
    for kind, records in ((PREDICTIONS_FOLDER, answers), (OUTCOMES_FOLDER, labels)):
        path = folder / "var" / kind / "segment.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, encode(records))
    (folder / "build").mkdir(exist_ok=True)
    names = [str(user) for user in range(users)]
    groups = pl.DataFrame({"user_id": names, "group": [f"g{int(name) % 2}" for name in names]})
    groups.write_parquet(folder / "build" / "groups.parquet")
