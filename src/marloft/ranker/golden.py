"""Twenty requests and what the source model answers, so that every later form can be compared."""

from typing import Any

import msgspec
import numpy as np

from marloft.contract.manifest import GoldenAnswer
from marloft.ranker.features import FeatureTables, encode, parse_user_id
from marloft.ranker.models import Ranker, score

REQUESTS = 20
MAX_CANDIDATES = 50


def golden_answers(model: Ranker, tables: FeatureTables, *, seed: int = 0) -> list[GoldenAnswer]:
    """Answer twenty generated requests with eager torch."""
    return [
        GoldenAnswer(request=request, expected=answer(model, tables, request))
        for request in golden_requests(tables, seed=seed)
    ]


def golden_requests(tables: FeatureTables, *, seed: int) -> list[dict[str, Any]]:
    """Return twenty request bodies with 50 down to 1 candidates.

    The last three hold an unknown user, an unknown item and no user.
    """
    rng = np.random.default_rng(seed)
    sizes = np.linspace(min(MAX_CANDIDATES, len(tables.item_ids)), 1, REQUESTS - 3).astype(int)
    requests = [_request(rng, tables, int(size)) for size in (*sizes, 5, 5, 5)]
    requests[-3]["user_id"] = int(tables.user_ids[-1]) + 1_000_000
    requests[-2]["features"][2]["item_id"] = int(tables.item_ids[-1]) + 1_000_000
    del requests[-1]["user_id"]
    return requests


def answer(model: Ranker, tables: FeatureTables, request: dict[str, Any]) -> dict[str, Any]:
    """Return `scores` in request order and `prediction`: item ids by descending score.

    Equal scores keep the request's order.
    """
    items = np.array([row["item_id"] for row in request["features"]], dtype=np.int64)
    users = np.full(len(items), parse_user_id(request.get("user_id")), dtype=np.int64)
    scores = score(model, encode(tables, users, items))
    order = np.argsort(-scores, kind="stable")
    return {"scores": scores.tolist(), "prediction": items[order].tolist()}


def to_jsonl(answers: list[GoldenAnswer]) -> bytes:
    """Return the content of `golden.jsonl`, one line per answer."""
    return b"".join(msgspec.json.encode(line, order="sorted") + b"\n" for line in answers)


def _request(rng: np.random.Generator, tables: FeatureTables, size: int) -> dict[str, Any]:
    items = rng.choice(tables.item_ids, size=size, replace=False)
    user = int(rng.choice(tables.user_ids))
    return {"user_id": user, "features": [{"item_id": int(item)} for item in items]}
