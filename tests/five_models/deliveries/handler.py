"""Says when a parcel arrives, and how likely it is late."""

import numpy as np

from marloft.runtimes import Arrays
from marloft.serving import Handler, Objects, Request


def delivery(minutes, chance, sure) -> dict:
    """Return the answer for one parcel."""
    return {"minutes": float(minutes), "late": {"chance": float(chance), "sure": bool(sure)}}


class Deliveries(Handler):
    """Answers an object per parcel."""

    def decode(self, request: Request) -> Arrays:
        """Return trips, float32[n, 2], and days, int64[n]."""
        trips = [[row.km, row.parcel.kilos] for row in request.rows]
        return {"trips": np.array(trips, np.float32), "days": np.array(request.column("day"))}

    def encode(self, request: Request, outputs: Arrays) -> Objects:
        """Answer the minutes, and the chance of more than an hour."""
        columns = [outputs[name] for name in ("minutes", "late.chance", "late.sure")]
        return Objects([delivery(*each) for each in zip(*columns, strict=True)])
