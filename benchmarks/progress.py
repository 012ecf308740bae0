"""What a benchmark that takes minutes prints meanwhile."""

from datetime import UTC, datetime

from rich.console import Console


def say(text: str) -> None:
    """Print one line of progress, with the time (UTC)."""
    Console(soft_wrap=True).print(
        f"[{datetime.now(UTC):%H:%M:%S}] {text}", highlight=False, markup=False
    )
