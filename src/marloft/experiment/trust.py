"""Checks that must hold before an effect may be read: a failed one refuses the report.

| code       | what it refuses                                                                  |
|------------|----------------------------------------------------------------------------------|
| records    | fewer than two users of this experiment in an arm, or arms whose answers are of  |
|            | different types, of which there is no common rate                                |
| design     | a release that split by a different salt or different arms than the file         |
| served_arm | a record whose version is not its arm's                                          |
| assignment | a record whose arm is not the one its user hashes to under its release           |
| srm        | sample ratio mismatch: the arms' user counts contradict the weights              |
| outcomes   | an arm without a single click, so that no relative effect exists                 |
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
from msgspec import Struct
from scipy import stats

from marloft.assignment import arm_of
from marloft.contract.check import Check
from marloft.contract.release import Allocation, read_release
from marloft.contract.shown import is_ranked
from marloft.errors import MarloftError
from marloft.experiment.design import Experiment

SRM_ALPHA = 0.001
"""Fabijan et al. (2019), Diagnosing Sample Ratio Mismatch in Online Controlled Experiments, KDD."""


class ServedGroup(Struct, frozen=True, kw_only=True):
    """Requests that agree in everything the checks look at; `example` is one request id."""

    release: int | None
    model: str
    arm: str | None
    version: str
    intended_version: str | None
    user_id: str | None
    example: str
    response: str | None = None


def served_groups(connection: duckdb.DuckDBPyConnection) -> list[ServedGroup]:
    """Return the distinct groups of `experiment_requests`, ordered by release and user."""
    rows = connection.execute(
        "SELECT release, model, arm, version, intended_version, user_id, min(request_id), response "
        "FROM experiment_requests GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [
        ServedGroup(
            release=row[0],
            model=row[1],
            arm=row[2],
            version=row[3],
            intended_version=row[4],
            user_id=row[5],
            example=row[6],
            response=row[7],
        )
        for row in rows
    ]


def read_allocations(
    releases: Path, groups: list[ServedGroup], experiment: Experiment
) -> tuple[dict[int, Allocation], Check]:
    """Return the experiment's allocation in each release of the records, and check `design`."""
    found: dict[int, Allocation] = {}
    faults: list[tuple[int | None, str]] = []
    wanted = {(group.release, group.model) for group in groups}
    for release, model in sorted(wanted, key=str):
        try:
            fault, allocation = _allocation(releases, release, model, experiment)
        except MarloftError as error:
            fault, allocation = str(error), None
        if allocation is None or release is None:
            faults.append((release, fault))
        else:
            found[release] = allocation
    if faults:
        return found, Check.failed("design", f"release {faults[0][0]}", faults[0][1])
    return found, Check.passed(
        "design", f"releases {sorted(found)} split as the experiment's file says"
    )


def _allocation(
    releases: Path, number: int | None, model: str, experiment: Experiment
) -> tuple[str, Allocation | None]:
    if number is None:
        return f"records of {model!r} name no release, so their arm cannot be recomputed", None
    released = read_release(releases, number).models.get(model)
    if released is None or released.allocation is None:
        return f"it splits no traffic of model {model!r}, though records say so", None
    split = released.allocation
    if split.name != experiment.name:
        return f"it carries experiment {split.name!r}, not {experiment.name!r}", None
    expected = (experiment.salt, [(arm.name, arm.version) for arm in experiment.arms])
    actual = (split.salt, [(arm.name, arm.version) for arm in split.arms])
    if actual != expected:
        return f"it split by (salt, arms) {actual}, the file says {expected}", None
    return "", split


def current_phase(allocations: Mapping[int, Allocation]) -> list[int]:
    """Return the newest releases that share one set of weights, in ascending order.

    Users move between arms when weights change, so phases are not added up: a mix of ratios
    biases the comparison (Simpson's paradox; Kohavi, Tang, Xu 2020, chapter 3).
    """
    phase: list[int] = []
    for number in sorted(allocations, reverse=True):
        if phase and allocations[number].arms != allocations[phase[0]].arms:
            break
        phase.append(number)
    return sorted(phase)


def check_served_arm(groups: list[ServedGroup], allocations: Mapping[int, Allocation]) -> Check:
    """Check that each record's version (served and intended) is its arm's."""
    for group, split in _with_allocation(groups, allocations):
        versions = {arm.name: arm.version for arm in split.arms}
        meant = versions.get(group.arm or "")
        if meant is not None and {group.version, group.intended_version or meant} != {meant}:
            return Check.failed(
                "served_arm",
                f"request {group.example}",
                f"arm {group.arm!r} is version {meant}, but {group.version} served it "
                f"(the gateway meant {group.intended_version})",
            )
    return Check.passed("served_arm", "every record was served by its arm's version")


def check_assignment(groups: list[ServedGroup], allocations: Mapping[int, Allocation]) -> Check:
    """Check that each record's arm is the one that its user hashes to under its release."""
    for group, split in _with_allocation(groups, allocations):
        if group.user_id is None:
            return Check.failed(
                "assignment", f"request {group.example}", "it has an arm but names no user"
            )
        arm = arm_of(split, group.user_id)
        if arm != group.arm:
            return Check.failed(
                "assignment",
                f"request {group.example}",
                f"user {group.user_id!r} belongs to {arm!r} under release {group.release}, "
                f"the record says {group.arm!r}",
            )
    return Check.passed("assignment", "every record's arm was recomputed from its release")


def _with_allocation(
    groups: list[ServedGroup], allocations: Mapping[int, Allocation]
) -> Iterator[tuple[ServedGroup, Allocation]]:
    for group in groups:
        if group.release is not None and group.release in allocations:
            yield group, allocations[group.release]


def srm_p(observed: list[int], weights: list[int]) -> float:
    """Return the p-value of Pearson's chi-square test of user counts against the weights."""
    total = sum(observed)
    expected = [total * weight / sum(weights) for weight in weights]
    return float(stats.chisquare(observed, expected).pvalue)


def check_srm(split: Allocation, users: Mapping[str, int]) -> tuple[Check, float]:
    """Check the number of users per arm against the weights; returns the p-value too."""
    observed = [users.get(arm.name, 0) for arm in split.arms]
    weights = [arm.weight for arm in split.arms]
    p = srm_p(observed, weights)
    counts = ", ".join(
        f"{arm.name} {n:,} users (weight {arm.weight})"
        for arm, n in zip(split.arms, observed, strict=True)
    )
    if p >= SRM_ALPHA:
        return Check.passed("srm", f"{counts}; chi-square p = {p:.3g}"), p
    share = sum(observed) / sum(weights)
    # Pearson residuals, (observed - expected) / root of expected.
    gaps = [abs(n - w * share) / (w * share) ** 0.5 for n, w in zip(observed, weights, strict=True)]
    worst = split.arms[gaps.index(max(gaps))].name
    message = f"{counts}; chi-square p = {p:.2g} is below {SRM_ALPHA}: users are missing or extra"
    return Check.failed("srm", f"arm {worst}", message), p


def check_records(groups: list[ServedGroup], experiment: Experiment) -> Check:
    """Check that control and the candidate have two users each, and answers of one type."""
    seen = {(group.arm or "", group.user_id) for group in groups}
    users = Counter(arm for arm, _ in seen)
    for arm in experiment.arms[:2]:
        if users[arm.name] < 2:
            return Check.failed(
                "records",
                f"arm {arm.name}",
                f"the log holds {users[arm.name]} users of {experiment.name!r} in it; at "
                "least 2 are needed: send traffic through the gateway, or check --var",
            )
    types = {group.response: group.version for group in groups if group.response is not None}
    if len(types) > 1:
        (first, version), (other, another) = sorted(types.items())[:2]
        return Check.failed(
            "records",
            f"version {another}",
            f"it answers with a {other}, version {version} with a {first}: what is shown and "
            "clicked is not counted alike, so that there is no difference in CTR; compare versions "
            "that answer alike",
        )
    return Check.passed("records", f"{sum(users.values()):,} users in {len(users)} arms")


def check_outcomes(
    clicks: Mapping[str, int], experiment: Experiment, groups: list[ServedGroup]
) -> Check:
    """Check that control and the candidate have clicks at all."""
    metric = experiment.metrics.ctr
    asked = f"the first {metric.top} items of any answer"
    how = "outcomes are sent"
    unranked = next((g.response for g in groups if not is_ranked(g.response)), None)
    if unranked is not None:
        asked = f"an entry of any {unranked}"
        how = "the `item_id` of outcomes is the number of the row, from 0,"
    for arm in experiment.arms[:2]:
        if clicks.get(arm.name, 0) == 0:
            return Check.failed(
                "outcomes",
                f"arm {arm.name}",
                f"no {metric.event!r} on {asked}; check that {how} and their log is complete",
            )
    return Check.passed("outcomes", f"{sum(clicks.values()):,} clicks joined to their answers")
