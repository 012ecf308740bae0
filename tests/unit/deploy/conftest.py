"""What the tests of several parts of a deployment talk to."""

from collections.abc import Iterator

import pytest

from tests.unit.deploy.local_server import LocalServer


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """A server on loopback whose answers the test sets."""
    found = LocalServer()
    yield found
    found.close()
