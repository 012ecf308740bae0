"""A canary that takes at least three times as long, for tests of the guardrails."""

import time

from ranker import RankerHandler  # the archive holds ranker.py too

from marloft.runtimes import Arrays

_DELAY_S = 0.035


class SlowRankerHandler(RankerHandler):
    """Waits before each batch; the tiny ranker's own answers take 3 to 10 ms at the gateway."""

    def predict(self, inputs: Arrays) -> Arrays:
        """Run the model late."""
        time.sleep(_DELAY_S)
        return super().predict(inputs)
