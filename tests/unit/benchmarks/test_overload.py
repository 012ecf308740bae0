"""What the peak of a service is, and how long it takes until it is back to normal."""

from benchmarks.hostile_rows import Load
from benchmarks.overload import back_to_normal_s, peak_per_s
from harness.driver import SentRequest
from tests.unit.benchmarks.made_requests import sent_request


def sent(medians_ms: list[float], status: int = 200) -> list[SentRequest]:
    """Return ten requests of each second, all of its median."""
    return [
        sent_request(sent_s=second + n / 10, took_s=took / 1e3, status=status)
        for second, took in enumerate(medians_ms)
        for n in range(10)
    ]


def closed(connections: int, goodput_per_s: float) -> Load:
    return Load(
        load=f"closed loop, {connections}",
        seconds=10,
        connections=connections,
        offered_per_s=0,
        sent_per_s=goodput_per_s,
        goodput_per_s=goodput_per_s,
        refused=0,
        failed=0,
        unanswered=0,
        good_p50_ms=1,
        good_p99_ms=2,
        refusal_p50_ms=None,
        refusal_p99_ms=None,
        generator_cores=0.1,
    )


def test_the_peak_is_the_mean_of_the_better_load_and_not_its_luckiest_run() -> None:
    runs = [closed(16, 150), closed(64, 200), closed(64, 300), closed(16, 260)]
    assert peak_per_s(runs) == 250


def test_normal_from_the_start_takes_no_time() -> None:
    assert back_to_normal_s(sent([4, 5.9, 4]), 4) == 0


def test_it_is_over_when_no_later_second_is_slow() -> None:
    assert back_to_normal_s(sent([90, 4, 20, 4, 4]), 4) == 3


def test_load_that_leaves_it_slow_never_ends() -> None:
    assert back_to_normal_s(sent([4, 4, 20]), 4) is None


def test_failed_requests_are_not_normal() -> None:
    assert back_to_normal_s(sent([4, 4, 4], status=503), 4) is None
