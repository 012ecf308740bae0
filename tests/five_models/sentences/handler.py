"""Turns sentences into vectors that are near each other when they share a topic."""

import zlib

import numpy as np

from marloft.runtimes import Arrays
from marloft.serving import Embedding, Handler, Rejected, Request

WORDS, LONGEST = 1000, 16


def tokens(texts) -> np.ndarray:
    """Return int64[n, 16]: a number from 1 for each word, 0 behind the last."""
    table = np.zeros((len(texts), LONGEST), np.int64)
    for row, text in zip(table, texts, strict=True):
        words = text.lower().split()[:LONGEST]
        row[: len(words)] = [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in words]
    return table


class Sentences(Handler):
    """Answers a vector per sentence."""

    def decode(self, request: Request) -> Arrays:
        """Return the words' numbers; a blank sentence has none and is refused."""
        for place, text in enumerate(request.column("text")):
            if not text.strip():
                raise Rejected("The sentence is blank; send words.", f"/features/{place}/text")
        return {"tokens": tokens(request.column("text"))}

    def encode(self, request: Request, outputs: Arrays) -> Embedding:
        """Answer the vectors as they are."""
        return Embedding(outputs["vector"])
