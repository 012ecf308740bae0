import os
import socket
from collections.abc import Iterator

import pytest

from marloft.deploy.ports import MAX_OFFSET, Exposure, Ports, check_free
from marloft.errors import ConfigError, ServingError

# By process, since tests may run in several at once.
OFFSET = 13_007 + os.getpid() % 400 * 20


@pytest.fixture
def ports() -> Ports:
    return Ports(offset=OFFSET)


@pytest.fixture
def taken_inference_port(ports: Ports) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", ports.inference)) as server:
        yield server.getsockname()[1]


def test_ports_without_offset_are_the_documented_ones() -> None:
    assert Ports().purposes() == {
        "gateway": 8000,
        "operations": 8001,
        "Envoy admin": 9901,
        "TorchServe inference": 8080,
        "TorchServe management": 8081,
        "TorchServe metrics": 8082,
        "TorchServe gRPC inference": 7070,
        "TorchServe gRPC management": 7071,
        "metrics exporter": 9102,
        "supervisor": 9103,
    }


def test_ports_are_all_shifted_by_the_offset() -> None:
    shifted, plain = Ports(offset=100).purposes(), Ports().purposes()
    assert {name: port - 100 for name, port in shifted.items()} == plain


@pytest.mark.parametrize("offset", [-1, MAX_OFFSET + 1])
def test_ports_refuse_an_offset_out_of_range(offset: int) -> None:
    with pytest.raises(ConfigError, match=rf"--port-offset is {offset}, must be 0 to"):
        Ports(offset=offset)


def test_ports_allow_the_largest_offset() -> None:
    assert max(Ports(offset=MAX_OFFSET).purposes().values()) == 65535


def test_check_free_names_the_taken_port_its_purpose_and_the_cure(
    ports: Ports, taken_inference_port: int
) -> None:
    wanted = rf"port {taken_inference_port} .*TorchServe inference.* in use.*--port-offset"
    with pytest.raises(ServingError, match=wanted):
        check_free(ports)


def test_check_free_accepts_free_ports(ports: Ports) -> None:
    check_free(ports)


def test_check_free_sees_a_listener_that_shares_its_port(ports: Ports) -> None:
    with socket.socket() as sharing:
        sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharing.bind(("127.0.0.1", ports.gateway))
        sharing.listen()
        with pytest.raises(ServingError, match="gateway"):
            check_free(ports)


def test_check_free_says_when_an_address_is_not_this_machines(ports: Ports) -> None:
    with pytest.raises(ServingError, match=r"on 192\.0\.2\.1 \(gateway\) is not usable"):
        check_free(ports, Exposure(gateway="192.0.2.1"))


def test_check_free_tries_the_operations_address(ports: Ports) -> None:
    with pytest.raises(ServingError, match=r"on 192\.0\.2\.1 \(operations\) is not usable"):
        check_free(ports, Exposure(operations="192.0.2.1"))


@pytest.mark.parametrize("host", ["localhost", "::1", "1.2.3", ""])
def test_exposure_refuses_what_is_not_ipv4(host: str) -> None:
    with pytest.raises(ConfigError, match=r"--host is .* must be an IPv4 address"):
        Exposure(gateway=host)
