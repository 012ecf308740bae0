"""Tells benign from malignant tumours by five measurements."""

import numpy as np

from marloft.runtimes import Arrays
from marloft.serving import Classification, Handler, Request

FIELDS = ("radius", "texture", "perimeter", "area", "smoothness")


class TumourJudge(Handler):
    """Answers with the likelier word for each row; archive.yaml has the labels."""

    def decode(self, request: Request) -> Arrays:
        """Put the measurements in the order of the training data."""
        return {"X": np.array([request.column(name) for name in FIELDS], np.float32).T}

    def encode(self, request: Request, outputs: Arrays) -> Classification:
        """Say what is likelier for each row."""
        return Classification(outputs["probabilities"])
