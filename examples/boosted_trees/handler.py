"""Tells benign from malignant tumours by five measurements."""

import numpy as np

from marloft.runtimes import Arrays
from marloft.serving import Handler, Prediction, Request

FIELDS = ("radius", "texture", "perimeter", "area", "smoothness")


class TumourJudge(Handler):
    """Answers with a word for each row, and scores: the probabilities that it is malignant."""

    def decode(self, request: Request) -> Arrays:
        """Put the measurements in the order of the training data."""
        return {"X": np.array([request.column(name) for name in FIELDS], np.float32).T}

    def encode(self, request: Request, outputs: Arrays) -> Prediction:
        """Say what is likelier for each row."""
        malignant = outputs["probabilities"][:, 0]
        words = ["malignant" if chance > 0.5 else "benign" for chance in malignant]
        sure = float(max(malignant[0], 1 - malignant[0]))
        return Prediction(prediction=words, confidence=sure, scores=malignant.tolist())
