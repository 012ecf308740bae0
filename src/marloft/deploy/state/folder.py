"""The state folder of a running `marloft serve`: private, and tried whether it takes writes."""

import tempfile
from pathlib import Path

from marloft.deploy.events import rotate_events
from marloft.deploy.faults import Faults
from marloft.deploy.running import check_lock

# What each says of itself when it takes no writes; the state folder is `.`.
FOLDERS = {
    ".": "the state folder",
    "releases": "the folder of releases",
    "run": "the folder of run-time state",
    "run/processes": "the folder of process records",
    "run/routes": "the folder of routes",
    "log": "the folder of logs",
    "log/predictions": "the prediction log",
    "log/outcomes": "the outcome log",
    "log/torchserve": "TorchServe's logs",
}
# A file system may still hold a few bytes in a block that is in use.
_PROBE = bytes(4096)


class StateFolder:
    """Looks at each folder before somebody needs it: a write that fails is found out too late."""

    def __init__(self, var: Path, port: int, faults: Faults) -> None:
        """Look at what lies below `var`; what is wrong is a fault.

        Args:
            var: the state folder, whose lock this process holds.
            port: where it answers, as the lock says.
            faults: takes what is wrong.
        """
        self._var, self._port, self._faults = var, port, faults

    def check(self) -> None:
        """Try to write in each folder that there is; look at the lock and `events.jsonl`."""
        for name, subject in FOLDERS.items():
            folder = self._var / name
            if name == "." or folder.exists():
                with self._faults.contained(subject):
                    _try_to_write(folder)
        # Archives are unpacked in it, and workers' sockets lie there.
        with self._faults.contained("the temporary folder"):
            _try_to_write(Path(tempfile.gettempdir()))
        with self._faults.contained("events.jsonl"):
            rotate_events(self._var)
        with self._faults.contained("the lock"):
            check_lock(self._var, self._port)


def _try_to_write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder, buffering=0) as stream:
        stream.write(_PROBE)
