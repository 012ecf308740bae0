"""Says what a flat costs, with an interval."""

import numpy as np

from marloft.runtimes import Arrays
from marloft.serving import Handler, Regression, Request


class Rent(Handler):
    """Answers francs a month per flat."""

    def decode(self, request: Request) -> Arrays:
        """Return flats, float32[n, 3]."""
        columns = [request.column(name) for name in ("rooms", "area", "age")]
        return {"flats": np.array(columns, np.float32).T}

    def encode(self, request: Request, outputs: Arrays) -> Regression:
        """Answer the median, and the quantiles around it as the interval."""
        return Regression(outputs["median"], np.stack([outputs["low"], outputs["high"]], axis=1))
