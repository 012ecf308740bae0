"""The ranker's formulas against their definitions, and loading its weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from marloft.errors import DataError
from marloft.ranker import features, models
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import CrossLayer, Ranker, pairwise, table_sizes
from marloft.training.config import ModelConfig

CONFIG = ModelConfig(embedding_dim=4, cross_layers=2, hidden=(8, 4), init_std=0.1)


@pytest.fixture
def tables() -> FeatureTables:
    return features.build_tables(
        np.array([9, 7]), np.array([50, 20]), [1995, None], [["Drama", "War"], ["Comedy"]]
    )


@pytest.fixture
def ranker(tables: FeatureTables) -> Ranker:
    torch.manual_seed(0)
    return Ranker(CONFIG, table_sizes(tables)).eval()


def test_pairwise_is_the_sum_of_all_dot_products() -> None:
    fields = torch.randn(5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = [
        sum(float(row[a] @ row[b]) for a in range(4) for b in range(a + 1, 4)) for row in fields
    ]
    assert pairwise(fields).tolist() == pytest.approx(expected, abs=1e-12)


def test_cross_layer_is_equation_1_of_dcn_v2() -> None:
    layer, rng = CrossLayer(3), np.random.default_rng(0)
    x0, x = rng.normal(size=(2, 5, 3)).astype(np.float32)
    weight, bias = (p.detach().numpy() for p in (layer.linear.weight, layer.linear.bias))
    expected = [x0[n] * (weight @ x[n] + bias) + x[n] for n in range(5)]
    found = layer(torch.from_numpy(x0), torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scores_are_probabilities_and_rows_are_independent(
    ranker: Ranker, tables: FeatureTables
) -> None:
    inputs = features.encode(tables, np.array([7, 9, 1]), np.array([50, 20, 1]))
    together = models.score(ranker, inputs)
    alone = [models.score(ranker, {k: v[n : n + 1] for k, v in inputs.items()}) for n in range(3)]
    assert together.dtype == np.float32
    assert together.min() > 0
    assert together.max() < 1
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)


def test_load_ranker_gives_back_the_saved_model(
    ranker: Ranker, tables: FeatureTables, tmp_path: Path
) -> None:
    torch.save(ranker.state_dict(), tmp_path / "model.pt")
    inputs = features.encode(tables, np.array([7]), np.array([50]))
    again = models.load_ranker(tmp_path / "model.pt", CONFIG, tables)
    assert models.score(again, inputs) == models.score(ranker, inputs)


def test_load_ranker_refuses_weights_of_other_tables(
    ranker: Ranker, tables: FeatureTables, tmp_path: Path
) -> None:
    torch.save(ranker.state_dict(), tmp_path / "model.pt")
    more = features.build_tables(np.arange(50), np.array([1]), [1990], [["War"]])
    with pytest.raises(DataError, match="does not fit the model"):
        models.load_ranker(tmp_path / "model.pt", CONFIG, more)


def test_load_ranker_without_weights_says_what_to_run(
    tables: FeatureTables, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"run training/train\.py first"):
        models.load_ranker(tmp_path / "model.pt", CONFIG, tables)
