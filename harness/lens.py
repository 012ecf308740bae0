"""A model of code alone that takes an image and parameters beside it, and says what it was asked.

Version 1.0 has golden answers, whose requests are sent as a query, as JSON and as headers; 1.1
knows another parameter than 1.0.
"""

import base64
from pathlib import Path
from typing import Any

import msgspec

from marloft.contract.manifest import GoldenAnswer
from marloft.files import write_atomic

IMAGE = b"\x89PNG, as if"
_HANDLER = '''
"""Answers with the size of an image and the parameters."""

import numpy as np
from marloft.serving import Handler, Prediction


class Lens(Handler):
    """Has no model."""

    def load(self, archive):
        pass

    def decode(self, request):
        return {"size": np.array([len(image) for image in request.column("image")])}

    def predict(self, inputs):
        return inputs

    def encode(self, request, outputs):
        asked = request.parameters
        told = [getattr(asked, name) for name in asked.__struct_fields__]
        return Prediction(prediction=[*outputs["size"].tolist(), *told], confidence=1.0)
'''
_CONFIG = """
name: lens
version: "{version}"
handler: ../handlers/lens.py
accepts: [application/json, image/png]
schema:
  row: {{image: {{type: string, contentEncoding: base64, contentMediaType: image/png}}}}
  parameters:
    top_k: {{type: integer, minimum: 1, maximum: 100}}
    {more}
{golden}
"""
_MORE = {
    "1.0": "language: {type: string, enum: [en, de], default: en}",
    "1.1": "zoom: {type: number, default: 1.5}",
}


def body(**parameters: Any) -> dict[str, Any]:
    """Return a JSON body with the image and these parameters."""
    row = {"image": base64.b64encode(IMAGE).decode()}
    return {"features": [row], "parameters": parameters}


def write_lens(folder: Path) -> None:
    """Write handler, golden answers and the YAML files of both versions into a project."""
    write_atomic(folder / "handlers" / "lens.py", _HANDLER.encode())
    golden = [
        GoldenAnswer(
            request=body(top_k=top_k, language="de"),
            expected={"prediction": [len(IMAGE), top_k, "de"]},
        )
        for top_k in (1, 2, 3)
    ]
    write_atomic(folder / "golden_lens.jsonl", msgspec.json.Encoder().encode_lines(golden))
    for version, more in _MORE.items():
        recorded = "golden: ../golden_lens.jsonl" if version == "1.0" else ""
        text = _CONFIG.format(version=version, more=more, golden=recorded)
        write_atomic(folder / "archive_configs" / f"lens_{version}.yaml", text.encode())
