"""PyTorch modules that answer in every form, in a file, since torch.jit.script reads the source."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

ITEMS = torch.arange(15, dtype=torch.float32).reshape(5, 3)
USER = torch.tensor([[0.5, -1.0]])


class Judged(NamedTuple):
    score: Tensor
    liked: Tensor


class Parts(NamedTuple):
    head: Judged
    tokens: Tensor


class One(nn.Module):
    def forward(self, items: Tensor) -> Tensor:
        return items.sum(dim=1)


class Named(nn.Module):
    def forward(self, items: Tensor) -> Judged:
        score = items.sum(dim=1)
        return Judged(score, score > 10)


class Pair(nn.Module):
    def forward(self, items: Tensor) -> tuple[Tensor, Tensor]:
        return items.sum(dim=1), items.argmax(dim=1)


class Listed(nn.Module):
    def forward(self, items: Tensor) -> list[Tensor]:
        return [items.sum(dim=1), items * 2]


class Keyed(nn.Module):
    def forward(self, items: Tensor) -> dict[str, Tensor]:
        return {"score": items.sum(dim=1), "best": items.argmax(dim=1)}


class Nested(nn.Module):
    def forward(self, items: Tensor) -> Parts:
        score = items.sum(dim=1)
        return Parts(Judged(score, score > 10), items.to(torch.int64))


class TwoInputs(nn.Module):
    """Scores items for one user: rows, a vector per row, and a value of the whole request."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.item, self.user = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, user: Tensor, items: Tensor) -> dict[str, Tensor]:
        hidden = torch.tanh(self.item(items) + self.user(user))
        score = hidden.sum(dim=1)
        return {"score": score, "vector": hidden, "liked": score > 0, "mean": score.mean()}


class Branching(nn.Module):
    """Takes another way by the values of its input, which a trace would forget."""

    def forward(self, items: Tensor) -> Judged:
        score = items.sum(dim=1)
        if bool(score[0] > 5):
            score = -score
        return Judged(score, score > 10)


class TakesRowsForConstant(nn.Module):
    """Its second output has the row count of the example in it, the first has not."""

    def forward(self, items: Tensor) -> dict[str, Tensor]:
        rows = len(items)
        return {"score": items.sum(dim=1), "share": items.sum(dim=1) / rows}


class Optional(nn.Module):
    def forward(self, items: Tensor, scale: Tensor | None = None, shift: float = 1.0) -> Tensor:
        scaled = items if scale is None else items * scale
        return scaled.sum(dim=1) + shift


class TakesWords(nn.Module):
    def forward(self, items: Tensor, words: list[str]) -> Tensor:
        return items.sum(dim=1) + len(words)


class Without(nn.Module):
    @torch.jit.export
    def predict(self, items: Tensor) -> Tensor:
        return items


class Reshapes(nn.Module):
    """Works for the two rows of an example alone."""

    def forward(self, items: Tensor) -> Tensor:
        return items[:2].sum(dim=1).reshape(2) + items.sum(dim=1)


class MixesRows(nn.Module):
    """Answers each row by its share of all rows, as a model does that ranks one list."""

    def forward(self, items: Tensor) -> Tensor:
        return torch.softmax(items.sum(dim=1), dim=0)
