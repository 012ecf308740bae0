"""Clicks per shown item of one arm, as sums over its users, and the difference of two arms."""

import math

from msgspec import Struct


class Clicks(Struct, frozen=True, kw_only=True):
    """The moments of one arm: sums over its users of clicks and shown items, and their products.

    Sums are weighted (see `UserClicks.add`), so they need not be whole numbers.
    """

    users: int = 0
    clicks: float = 0.0
    shown: float = 0.0
    clicks_squared: float = 0.0
    shown_squared: float = 0.0
    product: float = 0.0

    @property
    def ctr(self) -> float | None:
        """Clicks per shown item, None when nothing was shown."""
        return self.clicks / self.shown if self.shown else None

    @property
    def effective_users(self) -> float:
        """As many users of equal weight would give as much to go by (Kish 1965, Survey Sampling).

        Fewer than `users` when some come far more often than others.
        """
        return self.shown**2 / self.shown_squared if self.shown_squared else 0.0

    def variance(self, ratio: float | None = None) -> float:
        """Return the variance of `ctr` by the delta method with the user as the unit.

        Items of one user are alike, so a variance over items would be too small (Deng, Knoblich,
        Lu 2018, "Applying the Delta Method in Metric Analytics", KDD).

        Args:
            ratio: what users are compared with, by default the arm's own `ctr`.

        Returns:
            The variance; nan below 2 users.
        """
        if self.users < 2 or not self.shown:
            return math.nan
        around = self.clicks / self.shown if ratio is None else ratio
        squares = self.clicks_squared - 2 * around * self.product + around**2 * self.shown_squared
        # Rounding may leave a tiny negative when all users have the very same ratio.
        return max(0.0, squares) * self.users / (self.users - 1) / self.shown**2


def variance_of_loss(new: Clicks, control: Clicks) -> float:
    """Return the variance of control's CTR minus the new version's; nan with too few users.

    A small arm that has few clicks by chance shows little variance too, and would look like proof.
    So its users are also compared with control's CTR, which is theirs while both are alike.
    """
    return control.variance() + max(new.variance(), new.variance(control.ctr))


class UserClicks:
    """Gathers one arm's moments, in memory bounded by its number of users."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}
        self._alone = 0
        self._clicks = self._shown = 0.0
        self._clicks_squared = self._shown_squared = self._product = 0.0

    def add(self, user: str | None, *, clicked: int, shown: int, weight: float = 1.0) -> None:
        """Add one answer; without a user it is a unit of its own.

        `weight` makes the hours of control count as they do for the new version: the ratio of
        their shares when the answer was given. Without it a click rate that falls towards the
        evening would look like the fault of a version whose share grew during the day.
        """
        clicks, items = weight * clicked, weight * shown
        old_clicks = old_items = 0.0
        if user is None:
            self._alone += 1
        else:
            old_clicks, old_items = self._sums.get(user, (0.0, 0.0))
            self._sums[user] = (old_clicks + clicks, old_items + items)
        self._clicks += clicks
        self._shown += items
        self._clicks_squared += clicks * (2 * old_clicks + clicks)
        self._shown_squared += items * (2 * old_items + items)
        self._product += clicks * items + clicks * old_items + items * old_clicks

    def moments(self) -> Clicks:
        """Return the sums so far."""
        return Clicks(
            users=len(self._sums) + self._alone,
            clicks=self._clicks,
            shown=self._shown,
            clicks_squared=self._clicks_squared,
            shown_squared=self._shown_squared,
            product=self._product,
        )
