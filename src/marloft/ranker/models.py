"""The ranker: a small DCN-V2 with an FM part, and its form for serving.

Shape suffixes: n rows, g genres, f fields, e embedding width, d = f * e.

Wang et al.: DCN V2: Improved Deep & Cross Network. WWW 2021, arXiv:2008.13535.
Rendle: Factorization Machines. ICDM 2010, doi:10.1109/ICDM.2010.127.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from torch import Tensor, nn

from marloft.errors import DataError
from marloft.ranker import metrics
from marloft.ranker.features import YEAR_BUCKETS, FeatureTables
from marloft.training.config import ModelConfig
from marloft.training.stream import TrainingRows, predict

FIELDS = 4


class TableSizes(Struct, frozen=True, kw_only=True):
    """Rows of each embedding table, row 0 (out of the vocabulary) included."""

    users: int
    items: int
    years: int
    genres: int


def table_sizes(tables: FeatureTables) -> TableSizes:
    """Return the embedding sizes that fit the feature tables."""
    return TableSizes(
        users=len(tables.user_ids) + 1,
        items=len(tables.item_ids) + 1,
        years=YEAR_BUCKETS,
        genres=len(tables.genre_names),
    )


class CrossLayer(nn.Module):
    """One cross layer of DCN-V2: `x_next = x0 * (W x + b) + x`, all float32[n, d]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x0_nd: Tensor, x_nd: Tensor) -> Tensor:
        """Cross x with the input x0 of the first layer."""
        crossed: Tensor = x0_nd * self.linear(x_nd) + x_nd
        return crossed


class Fields(nn.Module):
    """Embeddings of the four fields: user, item, year and the sum over an item's genres."""

    def __init__(self, sizes: TableSizes, width: int, init_std: float) -> None:
        super().__init__()
        self.user = nn.Embedding(sizes.users, width)
        self.item = nn.Embedding(sizes.items, width)
        self.year = nn.Embedding(sizes.years, width)
        self.genres = nn.Linear(sizes.genres, width, bias=False)
        for part in (self.user, self.item, self.year, self.genres):
            nn.init.normal_(part.weight, std=init_std)

    def forward(self, user: Tensor, item: Tensor, year: Tensor, genres: Tensor) -> Tensor:
        """Return float32[n, f, e] for int64[n] three times and float32[n, g]."""
        parts = (self.user(user), self.item(item), self.year(year), self.genres(genres))
        return torch.stack(parts, dim=1)


class Ranker(nn.Module):
    """DCN-V2 in its parallel form plus FM: the logit of a like."""

    def __init__(self, config: ModelConfig, sizes: TableSizes) -> None:
        super().__init__()
        width = FIELDS * config.embedding_dim
        self.fields = Fields(sizes, config.embedding_dim, config.init_std)
        self.weights = Fields(sizes, 1, config.init_std)
        self.cross = nn.ModuleList(CrossLayer(width) for _ in range(config.cross_layers))
        layers: list[nn.Module] = []
        for inner, outer in zip((width, *config.hidden), config.hidden, strict=False):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        self.deep = nn.Sequential(*layers)
        self.head = nn.Linear(width + config.hidden[-1], 1)

    def forward(self, user: Tensor, item: Tensor, year: Tensor, genres: Tensor) -> Tensor:
        """Return the logit, float32[n], for int64[n] three times and float32[n, g]."""
        fields_nfe = self.fields(user, item, year, genres)
        x0_nd = fields_nfe.flatten(1)
        x_nd = x0_nd
        for layer in self.cross:
            x_nd = layer(x0_nd, x_nd)
        logit = self.head(torch.cat([x_nd, self.deep(x0_nd)], dim=1)).squeeze(1)
        linear = self.weights(user, item, year, genres).sum(dim=(1, 2))
        total: Tensor = logit + linear + pairwise(fields_nfe)
        return total


def pairwise(fields_nfe: Tensor) -> Tensor:
    """Return FM's sum of the dot products of all pairs of fields, float32[n].

    Equation 5 of Rendle (2010): half of (square of the sum - sum of the squares).
    """
    square_of_sum = fields_nfe.sum(dim=1).square()
    sum_of_squares = fields_nfe.square().sum(dim=1)
    return (square_of_sum - sum_of_squares).sum(dim=1) / 2


class Scorer(nn.Module):
    """What is exported and served: the ranker with a sigmoid, so that a score is P(like)."""

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, user: Tensor, item: Tensor, year: Tensor, genres: Tensor) -> Tensor:
        """Return the score, float32[n] in (0, 1)."""
        return torch.sigmoid(self.ranker(user, item, year, genres))


def load_ranker(path: Path, config: ModelConfig, tables: FeatureTables) -> Ranker:
    """Load `model.pt` into a ranker in evaluation mode on the CPU.

    Raises:
        DataError: the file is missing, or its weights do not fit the sizes.
    """
    model = Ranker(config, table_sizes(tables))
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run training/train.py first.") from None
    except RuntimeError as error:
        raise DataError(
            f"{path} does not fit the model ({str(error).splitlines()[-1].strip()}); train again "
            "with this data."
        ) from None
    return model.eval()


def score(model: Ranker, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return eager torch's scores, float32[n], for what `features.encode` returned."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.inference_mode():
        scores: NDArray[np.float32] = Scorer(model)(**tensors).numpy()
    return scores


def evaluate(model: nn.Module, rows: TrainingRows) -> metrics.Quality:
    """Return the figures of a sharded ranker on all rows, the same in every process."""
    scores = 1 / (1 + np.exp(-predict(model, rows).astype(np.float64)))
    return metrics.quality(rows.labels.astype(np.int64), scores)
