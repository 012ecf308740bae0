"""Generate messages, train a bag of word embeddings; leave it with its tokenizer in build/."""

import json
import random
from pathlib import Path

import numpy as np
import torch
from handler import TOPICS, token_ids

from marloft.files import write_atomic
from marloft.runtimes.export import export_torchscript, write_golden

BUILD = Path(__file__).parent / "build"
WORDS = [
    "my parcel courier late lost",
    "my refund invoice card late",
    "my password login card lost",
]

torch.manual_seed(0)
draw = random.Random(0)
labels = [draw.randrange(3) for _ in range(600)]
texts = ["hello " + " ".join(draw.sample(WORDS[label].split(), 4)) for label in labels]
vocabulary = {word: i for i, word in enumerate(sorted(set(" ".join(texts).split())), start=2)}
tokens = torch.from_numpy(np.stack([token_ids(text, vocabulary) for text in texts]))
embed = torch.nn.EmbeddingBag(len(vocabulary) + 2, 16, padding_idx=0)
model = torch.nn.Sequential(embed, torch.nn.Linear(16, len(TOPICS)), torch.nn.Softmax(dim=1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
for _ in range(60):
    optimizer.zero_grad()
    torch.nn.functional.nll_loss(model(tokens[:500]).log(), torch.tensor(labels[:500])).backward()
    optimizer.step()

scores = export_torchscript(model, {"input": tokens}, BUILD / "model.torchscript")["score"]
write_atomic(BUILD / "tokenizer.json", json.dumps(vocabulary))
best, sure = scores.argmax(axis=1), scores.max(axis=1).tolist()
requests = [{"features": [{"text": text}]} for text in texts]
answers = [{"prediction": [TOPICS[i]], "confidence": [p]} for i, p in zip(best, sure, strict=True)]
write_golden(BUILD / "golden.jsonl", zip(requests[500:510], answers[500:510], strict=True))
print(f"accuracy on 100 messages that were held out: {np.mean(best[500:] == labels[500:]):.3f}")
