"""What a workflow's node answered lately, so that a repeated request is not predicted twice.

TorchServe's workflow executor hands a node its job before it waits for the answer. On a busy
machine a fast node may answer before that; the executor misses the answer and sends the request
again after `timeout-ms`, under the same id. It has to get the same answer, with no second record.
"""

from collections import OrderedDict
from collections.abc import Sequence

from marloft.serving.exchange import Received

# Far more than a node answers in the time after which TorchServe repeats a request.
_KEPT = 1024


class RecentAnswers:
    """Answers by TorchServe's request id; the oldest are forgotten."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Keep the last `kept` answers."""
        self._kept = kept
        self._answers: OrderedDict[str, bytes] = OrderedDict()

    def new(self, batch: Sequence[Received]) -> list[Received]:
        """Return the requests that are this node's to answer and that it has not answered yet."""
        first: dict[str, Received] = {}
        for received in batch:
            if received.for_this_node and received.torchserve_id not in self._answers:
                first.setdefault(received.torchserve_id, received)
        return list(first.values())

    def answers(self, batch: Sequence[Received], new: dict[str, bytes]) -> list[bytes]:
        """Remember the new answers and return one for each request, `b""` for another node's."""
        self._answers |= new
        found = [self._answers[e.torchserve_id] if e.for_this_node else b"" for e in batch]
        while len(self._answers) > self._kept:
            self._answers.popitem(last=False)
        return found
