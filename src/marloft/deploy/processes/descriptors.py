"""How many files and connections a process may hold open, and what that leaves for clients."""

import resource

from marloft.errors import ConfigError

# Envoy without a client has some fifty open, Java some sixty; what is left reads files that change.
_RESERVE = 96
LEAST = 192
_MOST_CONNECTIONS = 10_000


def raise_limit() -> None:
    """Let this process, and all that it starts, hold as many files open as the system permits.

    Raises:
        ConfigError: that is too few to serve with.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST:
        raise ConfigError(
            f"at most {hard} files may be open here, must be {LEAST} at least; run "
            "`ulimit -n 4096 && marloft serve`, or raise the limit (LimitNOFILE= of a systemd "
            "unit, --ulimit nofile=4096 of a container)."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections() -> int:
    """Return how many clients may be connected: each may need a connection upstream too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return min(_MOST_CONNECTIONS, max(1, (soft - _RESERVE) // 2))
