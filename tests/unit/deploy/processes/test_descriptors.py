"""The limit of open files is raised as far as it goes, and leaves room for more than clients."""

import resource
import subprocess
import sys

import pytest

from marloft.deploy.processes.descriptors import most_connections, raise_limit
from marloft.errors import ConfigError


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The limits, soft and hard; the last one is in force."""
    found = [(1024, 1024)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: found[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: found.append(both))
    return found


@pytest.mark.parametrize(
    ("soft", "clients"),
    [(256, 80), (1024, 464), (20_096, 10_000), (1 << 20, 10_000), (resource.RLIM_INFINITY, 10_000)],
)
def test_each_client_may_need_a_connection_upstream_and_some_are_left(
    limit: list[tuple[int, int]], soft: int, clients: int
) -> None:
    limit.append((soft, soft))
    assert most_connections() == clients


def test_soft_limit_is_raised_to_the_hard_one(limit: list[tuple[int, int]]) -> None:
    limit.append((256, 4096))
    raise_limit()
    assert limit[-1] == (4096, 4096)
    limit.append((1024, resource.RLIM_INFINITY))
    raise_limit()
    assert limit[-1] == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_too_few_are_refused_with_the_line_to_write(limit: list[tuple[int, int]]) -> None:
    limit.append((64, 191))
    with pytest.raises(ConfigError, match="at most 191 files may be open here, must be 192 at"):
        raise_limit()
    assert limit[-1] == (64, 191)


def test_what_is_started_afterwards_inherits_the_limit() -> None:
    code = (
        "import resource, subprocess\n"
        "from marloft.deploy.processes.descriptors import raise_limit\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), min(512, hard)))\n"
        "raise_limit()\n"
        "print(subprocess.run('ulimit -n', shell=True, capture_output=True, text=True).stdout)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["512"]
