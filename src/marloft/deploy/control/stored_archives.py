"""Whether the store still holds what is live: a restart loads the archives again."""

from pathlib import Path

from marloft.contract.manifest import archive_path
from marloft.contract.release import Key, Release, ReleasedVersion
from marloft.deploy.control.admission import other_bytes
from marloft.deploy.faults import Faults
from marloft.deploy.release.resolve import holds

_Stamp = tuple[int, int]


class StoredArchives:
    """Looks at the files' sizes and times; only one that changed is hashed, and once."""

    def __init__(self, store: Path, faults: Faults) -> None:
        """Know none yet; the first look at a file is after its bytes were compared."""
        self._store, self._faults = store, faults
        self._good: dict[tuple[Key, str], _Stamp] = {}
        self._bad: dict[tuple[Key, str], _Stamp] = {}
        self._subjects: set[str] = set()

    def look(self, release: Release) -> None:
        """Note what a restart on `release` could not load, and what it could again."""
        subjects = {f"the archive of {name} {version}" for name, version in release.loaded}
        for gone in self._subjects - subjects:
            self._faults.over(gone)
        self._subjects = subjects
        for key, pinned in release.loaded.items():
            subject, why = f"the archive of {key[0]} {key[1]}", self._fault(release, key, pinned)
            if why is None:
                self._faults.over(subject)
            else:
                self._faults.found(subject, why)

    def _fault(self, release: Release, key: Key, pinned: ReleasedVersion) -> str | None:
        path = archive_path(self._store, *key)
        try:
            facts = path.stat()
        except OSError:
            return f"{path} is gone; a restart could not load it: put that file back"
        bytes_, stamp = (key, pinned.sha256), (facts.st_mtime_ns, facts.st_size)
        good = self._good.setdefault(bytes_, stamp)
        if stamp == good:
            return None
        # One that is being copied grows: its size says enough.
        if stamp[1] == good[1] and stamp != self._bad.get(bytes_):
            if holds(path, pinned):
                self._good[bytes_] = stamp
                return None
            self._bad[bytes_] = stamp
        return other_bytes(path, pinned, release.release)
