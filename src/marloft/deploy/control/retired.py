"""Which workflows have left the releases; what no release ever named is somebody else's."""

from pathlib import Path

from marloft.contract.release import Release, read_release
from marloft.errors import MarloftError


class RetiredWorkflows:
    """Reads the earlier releases once for each newest one."""

    def __init__(self, releases: Path) -> None:
        """Read nothing yet."""
        self._releases = releases
        self._read_to = 1
        self._named: set[str] = set()

    def of(self, release: Release) -> frozenset[str]:
        """Return the workflows that a release before `release` named and it does not."""
        for number in range(self._read_to, release.release):
            try:
                self._named.update(read_release(self._releases, number).workflows)
            except MarloftError:
                # Of the past: a damaged file there must not hold up what is to be live now.
                continue
        self._read_to = max(self._read_to, release.release)
        return frozenset(self._named.difference(release.workflows))
