"""Trains on made-up photos, exports, and answers for `marloft golden record`."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import torch
from handler import classified, pixels
from PIL import Image
from torch.nn import Conv2d, Flatten, Linear, Sequential, Sigmoid, Tanh

import marloft
from marloft.serving import Classification

WEIGHTS, ARTIFACT = Path("weights.pt"), Path("build/model.onnx")


def network() -> Sequential:
    """Answers the probability of night, float32[n], for float32[n, 3, 16, 16]."""
    torch.manual_seed(0)
    return Sequential(Conv2d(3, 4, 5, 3), Tanh(), Flatten(), Linear(64, 1), Sigmoid(), Flatten(0))


def photo(draw: np.random.Generator, night: bool) -> bytes:
    """Make up a JPEG of 48 x 32 pixels, mostly noise."""
    image = draw.normal(100 if night else 140, 60, (32, 48, 3)).clip(0, 255).astype(np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(image).save(jpeg, "jpeg")
    return jpeg.getvalue()


def answer(body: dict) -> Classification:
    """Answer one request as the trained model does."""
    model = network()
    model.load_state_dict(torch.load(WEIGHTS))
    jpeg = base64.b64decode(body["features"][0]["photo"])
    night = model(torch.from_numpy(pixels(jpeg))).item()
    return classified(night, body.get("parameters", {}).get("threshold", 0.5))


if __name__ == "__main__":
    draw = np.random.default_rng(0)
    photos = [photo(draw, night=place % 2 == 1) for place in range(200)]
    inputs = torch.from_numpy(np.concatenate([pixels(each) for each in photos]))
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy(model(inputs), torch.arange(200.0) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), WEIGHTS)
    marloft.export_onnx(model, {"input": inputs}, ARTIFACT, outputs=["night"], parents=[WEIGHTS])
    rows = [{"features": [{"photo": base64.b64encode(each).decode()}]} for each in photos[:2]]
    bodies = [*rows, rows[1] | {"parameters": {"threshold": 0.99}}]
    Path("requests.jsonl").write_text("".join(json.dumps(body) + "\n" for body in bodies))
