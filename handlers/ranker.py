"""Ranks a request's candidate items for its user."""

import numpy as np

from marloft.ranker.features import FeatureTables, encode, parse_user_id
from marloft.runtimes import Arrays
from marloft.serving import Handler, LoadedArchive, Ranking, Request


class RankerHandler(Handler):
    """Scores each `item_id` with the probability that the user likes it, best first."""

    def load(self, archive: LoadedArchive) -> None:
        """Read the model and the tables it was trained with."""
        super().load(archive)
        self.tables = FeatureTables.load(archive.path("tables.npz"))
        self.known_users = frozenset(self.tables.user_ids.tolist())
        self.known_items = frozenset(self.tables.item_ids.tolist())

    def decode(self, request: Request) -> Arrays:
        """Look ids up; an unknown user or item takes the out-of-vocabulary row."""
        items = np.array(request.column("item_id"), dtype=np.int64)
        users = np.full(len(items), parse_user_id(request.user_id), dtype=np.int64)
        return encode(self.tables, users, items)

    def encode(self, request: Request, outputs: Arrays) -> Ranking:
        """Order the candidates; the log also learns how much of the request was unknown."""
        items = request.column("item_id")
        extra = {
            "unknown_items": sum(item not in self.known_items for item in items),
            "unknown_user": parse_user_id(request.user_id) not in self.known_users,
        }
        return Ranking(items, outputs["score"], extra)
