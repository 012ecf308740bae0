"""A canary that ranks its candidates worst first, for tests of the guardrails."""

from ranker import RankerHandler  # the archive holds ranker.py too

from marloft.runtimes import Arrays
from marloft.serving import Ranking, Request


class WorseRankerHandler(RankerHandler):
    """Earns fewer clicks from readers who see the first three items only."""

    def encode(self, request: Request, outputs: Arrays) -> Ranking:
        """Rank by how little the user would like it."""
        return super().encode(request, {"score": 1 - outputs["score"]})
