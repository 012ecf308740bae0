"""A ranker that is bad on purpose, so that an experiment can prove that it would notice."""

import zlib

import numpy as np
from ranker import RankerHandler  # the archive holds ranker.py too

from marloft.runtimes import Arrays
from marloft.serving import Ranking, Request


class PlantedRankerHandler(RankerHandler):
    """Shuffles the scores among a request's candidates, the same way for the same request id."""

    def encode(self, request: Request, outputs: Arrays) -> Ranking:
        """Rank by another candidate's score."""
        shuffle = np.random.default_rng(zlib.crc32(request.request_id.encode()))
        return super().encode(request, {"score": shuffle.permutation(outputs["score"])})
