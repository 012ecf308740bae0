"""Waits, in the terminal of `apply`, until a release is live; it only watches."""

import time
from collections.abc import Callable
from pathlib import Path

from marloft.contract.live import Live
from marloft.contract.release import Release, newest_number, read_release, releases_folder
from marloft.deploy.release.write import CONTROLLER
from marloft.deploy.running import is_running, read_live
from marloft.errors import ServingError, StepError

_LOOK_EVERY_S = 0.1


def wait_until_live(
    var: Path, release: Release, report: Callable[[str], None], *, timeout_s: float = 120.0
) -> bool:
    """Return whether `release`, or a later one, is live; tell how far its versions are meanwhile.

    False means that no `marloft serve` runs on `var`. When this process ends, nothing changes:
    `marloft serve` goes on.

    Raises:
        ServingError: one of its versions is refused, or it was taken back.
        StepError: it is not live after `timeout_s` seconds, or `marloft serve` ended.
    """
    if not is_running(var):
        return False
    deadline = time.monotonic() + timeout_s
    reported: set[str] = set()
    while True:
        live = _said(var)
        if live is not None and live.release >= release.release:
            _check_not_taken_back(var, release)
            if live.live:
                return True
            _check_not_refused(release, live)
            _report_progress(release, live, reported, report)
        if not is_running(var):
            raise StepError(
                f"`marloft serve` ended before release {release.release} was live; the next one "
                "brings it live."
            )
        if time.monotonic() > deadline:
            raise StepError(
                f"release {release.release} is not live after {timeout_s:g} s; "
                "`marloft status` shows how far it is."
            )
        time.sleep(_LOOK_EVERY_S)


def next_steps(release: Release) -> list[str]:
    """Return one line for each roll-out of `release`: where it stands and what comes next."""
    lines = []
    for name, model in release.models.items():
        rollout = model.rollout
        if rollout is None or rollout.step >= len(rollout.plan.steps):
            continue
        shares = [*rollout.plan.steps, 100]
        lines.append(
            f"{name} {rollout.version} has {shares[rollout.step]} % of the traffic; "
            f"{shares[rollout.step + 1]} % follow after {rollout.plan.hold_s:g} s and "
            f"{rollout.plan.min_requests} requests. `marloft serve` sees to it: this terminal may "
            "close; `marloft status` shows it, `marloft rollback` ends it."
        )
    return lines


def _said(var: Path) -> Live | None:
    """Return what `marloft serve` says; one that is busy, or has just begun, may not answer yet."""
    try:
        return read_live(var)
    except ServingError:
        return None


def _check_not_taken_back(var: Path, release: Release) -> None:
    folder = releases_folder(var)
    for number in range(release.release + 1, newest_number(folder) + 1):
        later = read_release(folder, number)
        if later.verb == "rollback" and later.actor == CONTROLLER:
            raise ServingError(
                f"release {release.release} was taken back by release {number}: {later.reason}."
            )


def _check_not_refused(release: Release, live: Live) -> None:
    for name, model in release.models.items():
        for version in model.versions:
            state = live.versions.get(name, {}).get(version)
            if state is not None and state.state == "refused":
                raise ServingError(f"{name} {version} gets no traffic: {state.why}")


def _report_progress(
    release: Release, live: Live, reported: set[str], report: Callable[[str], None]
) -> None:
    """Report each state of each version once."""
    for name, model in release.models.items():
        for version in model.versions:
            state = live.versions.get(name, {}).get(version)
            line = f"{name} {version} is {state.state}" if state is not None else ""
            if line and line not in reported:
                reported.add(line)
                report(line)
