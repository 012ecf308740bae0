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
    def variance(self) -> float:
        """The variance of `ctr` by the delta method with the user as the unit; nan below 2 users.

        Items of one user are alike, so a variance over items would be too small (Deng, Knoblich,
        Lu 2018, "Applying the Delta Method in Metric Analytics", KDD).
        """
        if self.users < 2 or not self.shown:
            return math.nan
        ratio = self.clicks / self.shown
        squares = self.clicks_squared - 2 * ratio * self.product + ratio**2 * self.shown_squared
        # Rounding may leave a tiny negative when all users have the very same ratio.
        return max(0.0, squares) * self.users / (self.users - 1) / self.shown**2


class UserClicks:
    """Gathers one arm's moments, in memory bounded by its number of users."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}
        self._alone = 0
        self._moments = [0.0] * 5

    def add(self, user: str | None, *, clicked: int, shown: int, weight: float = 1.0) -> None:
        """Add one answer; without a user it is a unit of its own.

        `weight` makes the hours of control count as they do for the new version: the ratio of
        their shares when the answer was given. Without it a click rate that falls towards the
        evening would look like the fault of a version whose share grew during the day.
        """
        clicks, items = weight * clicked, weight * shown
        before = (0.0, 0.0)
        if user is None:
            self._alone += 1
        else:
            before = self._sums.get(user, before)
            self._sums[user] = (before[0] + clicks, before[1] + items)
        old_clicks, old_items = before
        new_clicks, new_items = old_clicks + clicks, old_items + items
        change = (
            clicks,
            items,
            new_clicks**2 - old_clicks**2,
            new_items**2 - old_items**2,
            new_clicks * new_items - old_clicks * old_items,
        )
        self._moments = [total + each for total, each in zip(self._moments, change, strict=True)]

    def moments(self) -> Clicks:
        """Return the sums so far."""
        clicks, shown, clicks_squared, shown_squared, product = self._moments
        return Clicks(
            users=len(self._sums) + self._alone,
            clicks=clicks,
            shown=shown,
            clicks_squared=clicks_squared,
            shown_squared=shown_squared,
            product=product,
        )
