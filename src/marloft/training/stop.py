"""When a run is over: after its last epoch, or when the valid AUC no longer grows.

Prechelt: Early Stopping - But When? In: Neural Networks: Tricks of the Trade. Springer 1998,
doi:10.1007/3-540-49430-8_3.
"""

from msgspec import Struct
from msgspec.structs import replace

from marloft.training.config import EarlyStopping


class Plateau(Struct, frozen=True, kw_only=True):
    """How long a run has gone without progress.

    `reference` is the valid AUC that the last progress reached, `waited` the epochs since. It is
    part of the checkpoint, so that a resumed run waits no longer than one that was not cut.
    """

    reference: float = 0.0
    waited: int = 0


def observe(plateau: Plateau, value: float, rule: EarlyStopping | None) -> Plateau:
    """Return the state after an epoch whose valid AUC is `value`."""
    least = 0.0 if rule is None else rule.min_delta
    if value > plateau.reference + least:
        return Plateau(reference=value)
    return replace(plateau, waited=plateau.waited + 1)


def is_over(plateau: Plateau, rule: EarlyStopping | None) -> bool:
    """Whether the patience of the rule is used up; never without a rule."""
    return rule is not None and plateau.waited >= rule.patience
