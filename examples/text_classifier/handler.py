"""Sorts customers' messages by what they are about."""

import json
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from marloft.runtimes import Arrays
from marloft.serving import Classification, Handler, LoadedArchive, Request

TOPICS = ("delivery", "payment", "account")  # as in archive.yaml


def token_ids(text: str, vocabulary: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the ids of the first words, int64[16]; 0 is padding, 1 an unknown word."""
    ids = [vocabulary.get(word, 1) for word in re.findall(r"[a-z]+", text.lower())]
    return np.array((ids + [0] * 16)[:16], np.int64)


class TopicSorter(Handler):
    """Answers with the topic of each message; the tokenizer is a file of the archive."""

    def load(self, archive: LoadedArchive) -> None:
        """Read the model and the vocabulary it was trained with."""
        super().load(archive)
        self.vocabulary = json.loads(archive.path("tokenizer.json").read_text())

    def decode(self, request: Request) -> Arrays:
        """Tokenize as in training: it is the same function."""
        ids = [token_ids(text, self.vocabulary) for text in request.column("text")]
        return {"input": np.stack(ids)}

    def encode(self, request: Request, outputs: Arrays) -> Classification:
        """Name the likeliest topic of each message."""
        return Classification(outputs["score"])
