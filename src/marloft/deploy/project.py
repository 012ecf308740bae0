"""Where one deployment's files lie, and how its progress is reported."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from marloft.contract.allocation import allocation_path

Report = Callable[[str], None]


class Project(Struct, frozen=True, kw_only=True):
    """Where one deployment's files lie."""

    config: Path
    store: Path
    var: Path

    @property
    def allocations(self) -> Path:
        """Return the folder of the assign nodes' files."""
        return allocation_path(self.var, "any").parent

    @property
    def routes(self) -> Path:
        """Return the gateway's route file."""
        return self.var / "run" / "routes" / "routes.json"

    @property
    def clusters(self) -> Path:
        """Return the gateway's cluster file."""
        return self.routes.with_name("clusters.json")

    @property
    def gateway_log(self) -> Path:
        """Return the console of Envoy."""
        return self.var / "log" / "envoy.log"

    @property
    def worker_log(self) -> Path:
        """Return the log of everything that TorchServe's workers write."""
        return self.var / "log" / "torchserve" / "model_log.log"
