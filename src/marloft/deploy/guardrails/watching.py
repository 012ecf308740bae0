"""What the controller asks of whoever judges versions that are new to traffic."""

from collections.abc import Mapping
from typing import Protocol

from marloft.contract.live import WatchState
from marloft.contract.release import Key, Release


class Watch(Protocol):
    """Judges versions that are new to traffic, and writes the next release when one is due."""

    def step(
        self, release: Release, restarts: Mapping[Key, int], refused: Mapping[Key, str]
    ) -> dict[str, WatchState]:
        """Look once; return each watched model's figures."""
        ...
