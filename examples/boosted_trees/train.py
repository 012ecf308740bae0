"""Train gradient-boosted trees with scikit-learn; leave them as ONNX in build/."""

from pathlib import Path

import numpy as np
from handler import FIELDS
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from marloft.files import write_atomic
from marloft.runtimes.export import describe_export, write_golden

BUILD = Path(__file__).parent / "build"

data = load_breast_cancer()
rows, labels = data.data[:, : len(FIELDS)].astype(np.float32), data.target
model = GradientBoostingClassifier(random_state=0).fit(rows[:400], labels[:400])
graph = to_onnx(model, rows[:1], options={"zipmap": False}, target_opset=17)
write_atomic(BUILD / "model.onnx", graph.SerializeToString())

chances = model.predict_proba(rows)
expected = {"probabilities": chances}
describe_export(BUILD / "model.onnx", runtime="onnx", inputs={"X": rows}, expected=expected)
features = [dict(zip(FIELDS, row.tolist(), strict=True)) for row in rows]
golden = [
    ({"features": features[i : i + 3]}, {"confidence": chances[i : i + 3].max(axis=1).tolist()})
    for i in range(400, 410)
]
write_golden(BUILD / "golden.jsonl", golden)
print(f"AUC on {len(rows) - 400} rows that were held out: ", end="")
print(f"{roc_auc_score(labels[400:], chances[400:, 1]):.3f}")
