"""Reads the digit in an image."""

import io

import numpy as np
from PIL import Image

from marloft.runtimes import Arrays
from marloft.serving import Classification, Handler, Rejected, Request


class DigitReader(Handler):
    """Answers with the digit and its probability, for each image; archive.yaml has the labels."""

    def decode(self, request: Request) -> Arrays:
        """Shrink each image to the 8 by 8 grey values that the model was trained on."""
        try:
            images = [Image.open(io.BytesIO(data)) for data in request.column("image")]
            small = [np.asarray(image.convert("L").resize((8, 8))) for image in images]
        except (OSError, ValueError) as error:
            raise Rejected(f"This is no image that can be read: {error}.", "/features") from None
        return {"input": np.stack(small).astype(np.float32) / 255}

    def encode(self, request: Request, outputs: Arrays) -> Classification:
        """Name the likeliest digit of each image."""
        return Classification(outputs["score"])
