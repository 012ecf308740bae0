"""A canary that fails on one request in twenty, for tests of the guardrails."""

import zlib

from ranker import RankerHandler  # the archive holds ranker.py too

from marloft.runtimes import Arrays
from marloft.serving import Ranking, Request


class FailingRankerHandler(RankerHandler):
    """Fails by the request's id, so that a test can tell which requests fail."""

    def encode(self, request: Request, outputs: Arrays) -> Ranking:
        """Raise, which is answered 500 to this request alone."""
        if zlib.crc32(request.request_id.encode()) % 20 == 0:
            raise RuntimeError("planted")
        return super().encode(request, outputs)
