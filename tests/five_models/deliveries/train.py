"""Trains on made-up trips, exports, and answers for `marloft golden record`."""

from pathlib import Path

import torch
from handler import delivery
from torch.nn.functional import binary_cross_entropy, mse_loss

import marloft
from marloft.serving import Objects

WEIGHTS, ARTIFACT = Path("weights.pt"), Path("build/model.torchscript")


class Deliveries(torch.nn.Module):
    """Takes trips, float32[n, 2], and days, int64[n]."""

    def __init__(self):
        super().__init__()
        self.trips, self.days = torch.nn.Linear(2, 2), torch.nn.Embedding(7, 2)

    def forward(self, trips: torch.Tensor, days: torch.Tensor):
        hours, late = (self.trips(trips / 10) + self.days(days)).unbind(1)
        chance = late.sigmoid()
        return {"minutes": 60 * hours.exp(), "late": {"chance": chance, "sure": late.abs() > 3}}


def answer(body: dict) -> Objects:
    """Answer one request as the trained model does."""
    model = Deliveries()
    model.load_state_dict(torch.load(WEIGHTS))
    trips = [[float(row["km"]), row["parcel"].get("kilos", 1)] for row in body["features"]]
    found = model(torch.tensor(trips), torch.tensor([row["day"] for row in body["features"]]))
    columns = [found["minutes"], *found["late"].values()]
    return Objects([delivery(*each) for each in zip(*columns, strict=True)])


if __name__ == "__main__":
    torch.manual_seed(0)
    trips, days = 20 * torch.rand(500, 2), torch.randint(0, 7, (500,))
    minutes = 3 * trips[:, 0] + trips[:, 1] + 20 * (days > 4) + 5 * torch.randn(500).abs()
    model = Deliveries()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        found = model(trips, days)
        loss = mse_loss(found["minutes"] / 60, minutes / 60)
        loss += binary_cross_entropy(found["late"]["chance"], (minutes > 60).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), WEIGHTS)
    inputs = {"trips": trips, "days": days}
    marloft.export_torchscript(model.eval(), inputs, ARTIFACT, parents=[WEIGHTS])
