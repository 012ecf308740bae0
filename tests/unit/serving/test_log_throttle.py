"""A failure of every batch is logged at once, and does not fill the disk with tracebacks."""

import logging

import pytest

from harness import factories
from marloft.serving.log_throttle import LogThrottle
from tests.unit.serving.driver import Server
from tests.unit.serving.writing import turn_into

_logger = logging.getLogger(__name__)


def test_failures_are_logged_first_and_then_once_a_minute_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    throttle = LogThrottle(_logger, "No log.", clock=lambda: now)
    for second in range(121):
        now = float(second)
        throttle.log(OSError("disk full"))
    assert [record.args for record in caplog.records] == [("No log.", n) for n in (1, 60, 60)]
    assert all(record.exc_info for record in caplog.records)


def test_log_that_cannot_be_written_is_reported_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    turn_into(server.log, "/dev/full")
    for _ in range(20):
        assert server.ask(factories.body(7, [3]))[0].status == 503
    reports = [r for r in caplog.records if "cannot be written" in r.getMessage()]
    assert len(reports) == 1
