"""Trains on made-up sentences, exports, and answers for `marloft golden record`."""

import random
from pathlib import Path

import torch
from handler import WORDS, tokens

import marloft
from marloft.serving import Embedding

WEIGHTS, ARTIFACT = Path("weights.pt"), Path("build/model.torchscript")
TOPICS = ["goal match team player win", "bread salt oven dough cook", "rate bank loan price pay"]


class Sentences(torch.nn.Module):
    """The mean of the words' vectors, of length 1."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(WORDS, 24, padding_idx=0)

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"vector": torch.nn.functional.normalize(self.words(tokens).sum(dim=1), dim=1)}


def answer(body: dict) -> Embedding:
    """Answer one request as the trained model does."""
    model = Sentences()
    model.load_state_dict(torch.load(WEIGHTS))
    texts = [row["text"] for row in body["features"]]
    return Embedding(model(torch.from_numpy(tokens(texts)))["vector"].detach().numpy())


if __name__ == "__main__":
    torch.manual_seed(0)
    topics = torch.randint(0, 3, (300,))
    draw = random.Random(0)
    texts = [" ".join(draw.sample(TOPICS[topic].split(), 3)) for topic in topics]
    inputs, same = torch.from_numpy(tokens(texts)), (topics[:, None] == topics).float()
    model = Sentences()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(40):
        vectors = model(inputs)["vector"]
        loss = torch.nn.functional.mse_loss(vectors @ vectors.T, same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), WEIGHTS)
    inputs = {"tokens": inputs}
    marloft.export_torchscript(model.eval(), inputs, ARTIFACT, parents=[WEIGHTS])
