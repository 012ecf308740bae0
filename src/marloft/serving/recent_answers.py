"""What a workflow's node answered lately, so that a repeated question is not predicted anew.

TorchServe's workflow executor hands a node its job before it listens for the answer. Where threads
wait for a core, a fast node answers first, is not heard, and is asked again after `timeout-ms`,
under the same request id. The answer then has to be the same one, with no second record.
"""

from collections import OrderedDict
from collections.abc import Sequence

from marloft.serving.exchange import Exchange

# Far more than a node answers in the time after which TorchServe asks again.
_KEPT = 1024


class RecentAnswers:
    """Answers by TorchServe's request id; the oldest are forgotten."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Keep the last `kept` answers."""
        self._kept = kept
        self._answers: OrderedDict[str, bytes] = OrderedDict()

    def new(self, opened: Sequence[Exchange]) -> list[Exchange]:
        """Return the requests that are this node's to answer and that it has not answered yet."""
        first: dict[str, Exchange] = {}
        for exchange in opened:
            if exchange.ours and exchange.asked_id not in self._answers:
                first.setdefault(exchange.asked_id, exchange)
        return list(first.values())

    def answers(self, opened: Sequence[Exchange], new: dict[str, bytes]) -> list[bytes]:
        """Remember the new answers and return one for each request, `b""` for another node's."""
        self._answers |= new
        found = [self._answers[e.asked_id] if e.ours else b"" for e in opened]
        while len(self._answers) > self._kept:
            self._answers.popitem(last=False)
        return found
