"""Ranks a request's candidate items for its user."""

import numpy as np

from marloft.ranker.features import FeatureTables, count_unknown, encode, parse_user_id
from marloft.runtimes import Arrays
from marloft.serving import Handler, LoadedArchive, Prediction, Request, rank


class RankerHandler(Handler):
    """Scores each `item_id` with the probability that the user likes it, best first."""

    def load(self, archive: LoadedArchive) -> None:
        """Read the model and the tables it was trained with."""
        super().load(archive)
        self.tables = FeatureTables.load(archive.path("tables.npz"))

    def decode(self, request: Request) -> Arrays:
        """Look ids up; an unknown user or item takes the out-of-vocabulary row."""
        items = np.array(request.column("item_id"), dtype=np.int64)
        users = np.full(len(items), parse_user_id(request.user_id), dtype=np.int64)
        return encode(self.tables, users, items)

    def encode(self, request: Request, outputs: Arrays) -> Prediction:
        """Order the candidates; the log also learns how much of the request was unknown."""
        ranked = rank(request.column("item_id"), outputs["score"])
        unknown = count_unknown(self.decode(request))
        extra = {"unknown_items": unknown.items, "unknown_user": unknown.users > 0}
        return Prediction(
            prediction=ranked.prediction,
            confidence=ranked.confidence,
            scores=ranked.scores,
            extra=extra,
        )
