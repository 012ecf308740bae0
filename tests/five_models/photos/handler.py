"""Says whether a photo was taken by day or at night."""

import io

import numpy as np
from PIL import Image

from marloft.runtimes import Arrays
from marloft.serving import Classification, Handler, Rejected, Request


def pixels(jpeg: bytes) -> np.ndarray:
    """Return float32[1, 3, 16, 16] in [0, 1]."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((16, 16))
    return (np.asarray(image, np.float32) / 255).transpose(2, 0, 1)[None]


def classified(night: float, threshold: float) -> Classification:
    """Return night where its probability reaches the threshold, else day."""
    return Classification([[1 - night, night]], labels=["night" if night >= threshold else "day"])


class Photos(Handler):
    """Answers a label for the photo."""

    def decode(self, request: Request) -> Arrays:
        """Return the photo's pixels; bytes that are no image are refused."""
        try:
            return {"input": pixels(request.rows[0].photo)}
        except OSError as error:
            raise Rejected("These bytes are no JPEG; send one.", "/features/0/photo") from error

    def encode(self, request: Request, outputs: Arrays) -> Classification:
        """Answer the label by the request's threshold, and both probabilities."""
        return classified(float(outputs["night"][0]), request.parameters.threshold)
