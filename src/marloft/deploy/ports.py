"""The TCP ports of one marloft installation, who may reach them, and whether they are free."""

import errno
import ipaddress
import socket
from collections.abc import Collection

from msgspec import Struct

from marloft.errors import ConfigError, ServingError

LOOPBACK = "127.0.0.1"
MAX_OFFSET = 65535 - 9901


class Ports(Struct, frozen=True, kw_only=True):
    """Where each server listens; `offset` shifts all ports, so that several can run at once.

    Only the gateway and the read-only operations listener may leave loopback (see `Exposure`).

    Raises:
        ConfigError: the offset would move a port out of 1 to 65535.
    """

    offset: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.offset <= MAX_OFFSET:
            raise ConfigError(
                f"--port-offset is {self.offset}, must be 0 to {MAX_OFFSET}; choose a smaller one."
            )

    @property
    def gateway(self) -> int:
        """Envoy, the port that clients use."""
        return 8000 + self.offset

    @property
    def operations(self) -> int:
        """The gateway's read-only listener for probes and scrapes."""
        return 8001 + self.offset

    @property
    def envoy_admin(self) -> int:
        """Envoy's admin interface."""
        return 9901 + self.offset

    @property
    def inference(self) -> int:
        """TorchServe's inference API."""
        return 8080 + self.offset

    @property
    def management(self) -> int:
        """TorchServe's management API."""
        return 8081 + self.offset

    @property
    def metrics(self) -> int:
        """TorchServe's metrics API."""
        return 8082 + self.offset

    @property
    def grpc_inference(self) -> int:
        """TorchServe's gRPC inference API."""
        return 7070 + self.offset

    @property
    def grpc_management(self) -> int:
        """TorchServe's gRPC management API."""
        return 7071 + self.offset

    @property
    def exporter(self) -> int:
        """The exporter that merges the workers' metrics."""
        return 9102 + self.offset

    @property
    def supervisor(self) -> int:
        """What `marloft serve` says of itself."""
        return 9103 + self.offset

    def purposes(self) -> dict[str, int]:
        """Return every port under a name that says what it is for."""
        return {
            "gateway": self.gateway,
            "operations": self.operations,
            "Envoy admin": self.envoy_admin,
            "TorchServe inference": self.inference,
            "TorchServe management": self.management,
            "TorchServe metrics": self.metrics,
            "TorchServe gRPC inference": self.grpc_inference,
            "TorchServe gRPC management": self.grpc_management,
            "metrics exporter": self.exporter,
            "supervisor": self.supervisor,
        }


class Exposure(Struct, frozen=True, kw_only=True):
    """The IPv4 addresses that clients and operators reach; everything else is on loopback.

    Raises:
        ConfigError: an address is not IPv4.
    """

    gateway: str = LOOPBACK
    operations: str = LOOPBACK

    def __post_init__(self) -> None:
        for option, host in (("--host", self.gateway), ("--operations-host", self.operations)):
            try:
                ipaddress.IPv4Address(host)
            except ValueError:
                raise ConfigError(
                    f"{option} is {host!r}, must be an IPv4 address of this machine; use "
                    f"{LOOPBACK} or 0.0.0.0 (all of them)."
                ) from None


def check_free(
    ports: Ports, exposure: Exposure | None = None, *, held: Collection[str] = ()
) -> None:
    """Make sure that every port can be bound at the address it is to have.

    Args:
        ports: what is to be bound.
        exposure: at which addresses.
        held: purposes whose ports our own processes hold already.

    Raises:
        ServingError: a port is taken, or this user may not bind it.
    """
    exposed = exposure or Exposure()
    hosts = {"gateway": exposed.gateway, "operations": exposed.operations}
    for purpose, port in ports.purposes().items():
        if purpose in held:
            continue
        _check_bindable(hosts.get(purpose, LOOPBACK), port, purpose)


def _check_bindable(host: str, port: int, purpose: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT after a stop is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = "in use" if error.errno == errno.EADDRINUSE else f"not usable ({error.strerror})"
            raise ServingError(
                f"port {port} on {host} ({purpose}) is {why}; stop what holds it or shift all "
                "ports with `--port-offset 100`."
            ) from None
