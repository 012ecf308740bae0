"""Train a classifier of 8 by 8 images of digits; leave it with golden answers in build/."""

import base64
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from marloft.runtimes.export import export_torchscript, write_golden

BUILD = Path(__file__).parent / "build"


def png(grey: np.ndarray) -> str:
    """Return an image of grey values uint8[8,8] as the base64 text of a PNG file."""
    Image.fromarray(grey).save(buffer := io.BytesIO(), "png")
    return base64.b64encode(buffer.getvalue()).decode()


torch.manual_seed(0)
digits = load_digits()
images, labels = np.round(digits.images / 16 * 255).astype(np.uint8), torch.tensor(digits.target)
pixels = torch.from_numpy(images).float() / 255
layers = torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
model = torch.nn.Sequential(torch.nn.Flatten(), *layers, torch.nn.Softmax(dim=1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(200):
    optimizer.zero_grad()
    torch.nn.functional.nll_loss(model(pixels[:1500]).log(), labels[:1500]).backward()
    optimizer.step()

scores = export_torchscript(model, {"input": pixels}, BUILD / "model.torchscript")["score"]
best, sure = scores.argmax(axis=1).tolist(), scores.max(axis=1).tolist()
golden = [
    ({"features": [{"image": png(images[i])}]}, {"prediction": [best[i]], "confidence": [sure[i]]})
    for i in range(1500, 1510)
]
Image.fromarray(images[1500]).save(BUILD / "digit.png")
write_golden(BUILD / "golden.jsonl", golden)
right = np.mean(scores[1500:].argmax(axis=1) == digits.target[1500:])
print(f"accuracy on {len(labels) - 1500} images that were held out: {right:.3f}")
