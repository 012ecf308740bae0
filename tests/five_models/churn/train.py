"""Trains on made-up customers, exports, and answers for `marloft golden record`."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import yaml
from handler import numbers
from skl2onnx import to_onnx
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import marloft
from marloft.serving import Classification

SOURCE, ARTIFACT = Path("build/model.pickle"), Path("build/model.onnx")
FIELDS = yaml.safe_load(Path("archive.yaml").read_text())["schema"]["row"]
# What each of the handler's 14 numbers reaches.
LARGEST = [90, 9e4, 30, 90, 1, 5, 1, 80, 2, 3, 500, 1, 1, 1]


def filled(row: dict) -> SimpleNamespace:
    """Return a row as handlers get it: by the names of its fields, with their defaults."""
    names = {key: field.get("alias", key) for key, field in FIELDS.items()}
    values = {key: row.get(name, FIELDS[key].get("default")) for key, name in names.items()}
    return SimpleNamespace(**values)


def answer(body: dict) -> Classification:
    """Answer one request as the trained model does."""
    rows = np.array([numbers(filled(row)) for row in body["features"]], np.float32)
    return Classification(pickle.loads(SOURCE.read_bytes()).predict_proba(rows))


if __name__ == "__main__":
    draw = np.random.default_rng(0)
    rows = draw.uniform(0, LARGEST, (2000, 14)).astype(np.float32)
    leaves = rows[:, 5] + rows[:, 2] / 10 - rows[:, 7] / 40 + draw.normal(0, 1, 2000) < 3
    rows[draw.random(rows.shape) < 0.1] = np.nan
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    model.fit(rows, leaves)
    SOURCE.parent.mkdir(exist_ok=True)
    SOURCE.write_bytes(pickle.dumps(model))
    graph = to_onnx(model, rows[:1], options={"zipmap": False}, target_opset=17)
    ARTIFACT.write_bytes(graph.SerializeToString())
    expected = {"probabilities": model.predict_proba(rows)}
    marloft.describe_export(
        ARTIFACT, runtime="onnx", inputs={"X": rows}, expected=expected, parents=[SOURCE]
    )
