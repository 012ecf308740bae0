"""Golden requests cover the odd cases, and their answers are eager torch's."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from marloft.contract.manifest import GoldenAnswer
from marloft.contract.predict_api import RequestEnvelope
from marloft.ranker import features, golden
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import Ranker, table_sizes
from marloft.training.config import ModelConfig


@pytest.fixture
def tables() -> FeatureTables:
    items = np.arange(1, 101)
    return features.build_tables(np.arange(1, 31), items, [1990] * 100, [["War"]] * 100)


@pytest.fixture
def ranker(tables: FeatureTables) -> Ranker:
    torch.manual_seed(0)
    config = ModelConfig(embedding_dim=4, cross_layers=1, hidden=(8,), init_std=0.5)
    return Ranker(config, table_sizes(tables)).eval()


def test_golden_requests_have_1_to_50_candidates_and_are_valid(tables: FeatureTables) -> None:
    requests = golden.golden_requests(tables, seed=0)
    sizes = [len(request["features"]) for request in requests]
    assert (len(requests), min(sizes), max(sizes)) == (20, 1, 50)
    for request in requests:
        msgspec.convert(request, dict[str, Any])
        msgspec.json.decode(msgspec.json.encode(request), type=RequestEnvelope)


def test_golden_requests_hold_an_unknown_user_an_unknown_item_and_no_user(
    tables: FeatureTables,
) -> None:
    requests = golden.golden_requests(tables, seed=0)
    assert [r for r in requests if "user_id" not in r] == [requests[-1]]
    assert [r for r in requests if r.get("user_id", 1) > 30] == [requests[-3]]
    unknown = [sum(row["item_id"] > 100 for row in r["features"]) for r in requests]
    assert unknown == [0] * 18 + [1, 0]


def test_golden_scores_are_the_forward_pass_of_each_candidate(
    ranker: Ranker, tables: FeatureTables
) -> None:
    request = {"user_id": 3, "features": [{"item_id": 8}, {"item_id": 5}]}
    scores = golden.answer(ranker, tables, request)["scores"]
    for item, found in zip((8, 5), scores, strict=True):
        logit = ranker(
            user=torch.tensor([3]),
            item=torch.tensor([item]),
            year=torch.tensor([features.year_bucket(1990)]),
            genres=torch.ones(1, 1),
        )
        assert found == pytest.approx(1 / (1 + math.exp(-float(logit.detach()))), abs=1e-6)


def test_golden_prediction_is_best_first_and_ties_keep_the_request_order(
    ranker: Ranker, tables: FeatureTables
) -> None:
    rows = [{"item_id": 900}, {"item_id": 8}, {"item_id": 901}, {"item_id": 5}]
    found = golden.answer(ranker, tables, {"user_id": 3, "features": rows})
    by_score = sorted(range(4), key=lambda place: -found["scores"][place])
    assert found["scores"][0] == found["scores"][2]
    assert found["prediction"] == [rows[place]["item_id"] for place in by_score]


def test_to_jsonl_is_one_golden_answer_a_line(ranker: Ranker, tables: FeatureTables) -> None:
    answers = golden.golden_answers(ranker, tables)
    lines = golden.to_jsonl(answers).splitlines()
    assert [msgspec.json.decode(line, type=GoldenAnswer) for line in lines] == answers
