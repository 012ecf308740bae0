"""A release for tests that care about its models, and not about who decided it when."""

from marloft.contract.policy import LogPolicy
from marloft.contract.release import Release, ReleasedModel


def made_release(
    models: dict[str, ReleasedModel], number: int = 1, log: LogPolicy | None = None
) -> Release:
    """Return release `number` with these models; the default one is called `ranker`."""
    return Release(
        release=number,
        time="2026-01-01T00:00:00.000+00:00",
        actor="test",
        reason="test",
        models=models,
        default_model="ranker",
        log=log or LogPolicy(),
    )
