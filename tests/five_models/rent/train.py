"""Trains on made-up flats, exports, and answers for `marloft golden record`."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import marloft
from marloft.serving import Regression

WEIGHTS, ARTIFACT = Path("weights.pt"), Path("build/model.onnx")
QUANTILES = torch.tensor([0.1, 0.5, 0.9])


class Francs(NamedTuple):
    """float32[n] each."""

    low: torch.Tensor
    median: torch.Tensor
    high: torch.Tensor


class Rent(torch.nn.Module):
    """A median, and steps to the quantiles around it that cannot be negative."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 3)
        self.register_buffer("scale", torch.tensor([1.0, 20.0, 30.0]))

    def forward(self, flats: torch.Tensor) -> Francs:
        low, median, high = self.linear(flats / self.scale).unbind(1)
        relu = torch.nn.functional.softplus
        return Francs(100 * (median - relu(low)), 100 * median, 100 * (median + relu(high)))


def answer(body: dict) -> Regression:
    """Answer one request as the trained model does."""
    model = Rent()
    model.load_state_dict(torch.load(WEIGHTS))
    flats = [[float(row["rooms"]), row["area"], row.get("age", 30)] for row in body["features"]]
    low, median, high = (each.detach().numpy() for each in model(torch.tensor(flats)))
    return Regression(median, np.stack([low, high], axis=1))


if __name__ == "__main__":
    torch.manual_seed(0)
    flats = torch.rand(1000, 3) * torch.tensor([6.0, 150.0, 100.0]) + torch.tensor([1.0, 15.0, 0.0])
    price = 300 + 200 * flats[:, 0] + 12 * flats[:, 1] - 4 * flats[:, 2] + 150 * torch.randn(1000)
    model = Rent()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(500):
        miss = (price[:, None] - torch.stack(model(flats), 1)) / 100
        loss = torch.maximum(QUANTILES * miss, (QUANTILES - 1) * miss).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), WEIGHTS)
    marloft.export_onnx(model.eval(), {"flats": flats}, ARTIFACT, parents=[WEIGHTS], allowed=0.01)
