"""Says which customers will leave."""

import numpy as np

from marloft.runtimes import Arrays
from marloft.serving import Classification, Handler, Request

NUMBERS = ["age", "income", "visits", "idle_days", "discount", "stars", "newsletter", "fee"]
PLANS, COUNTRIES = ["free", "basic", "pro"], ["de", "fr", "ch", None]
OPTIONS = ["backup", "support", "phone"]


def numbers(row) -> list:
    """Return 14 numbers of a row, None where one is not known."""
    taken = [option in row.options for option in OPTIONS]
    choices = [PLANS.index(row.plan), COUNTRIES.index(row.country), len(row.comment or "")]
    return [*(getattr(row, name) for name in NUMBERS), *choices, *taken]


class Churn(Handler):
    """Answers a label per customer."""

    def decode(self, request: Request) -> Arrays:
        """Return X, float32[n, 14], NaN for None."""
        return {"X": np.array([numbers(row) for row in request.rows], np.float32)}

    def encode(self, request: Request, outputs: Arrays) -> Classification:
        """Answer the likelier label and both probabilities."""
        return Classification(outputs["probabilities"])
