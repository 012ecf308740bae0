"""No two sets of ports that tests may be given share a port."""

from collections import Counter

from marloft.deploy.ports import Ports
from tests.free_ports import offsets_of


def counted(offsets: list[int]) -> Counter[int]:
    return Counter(port for each in offsets for port in Ports(offset=each).purposes().values())


def test_no_two_sets_share_a_port() -> None:
    every = [offset for process in range(8) for offset in offsets_of(process)]
    assert max(counted(every).values()) == 1


def test_sets_by_hundreds_alone_would_share() -> None:
    assert max(counted([2600, 4500]).values()) == 2
