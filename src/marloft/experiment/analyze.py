"""The analysis of one experiment: from its file, the releases and the logs to a report."""

from pathlib import Path

import duckdb

from marloft.contract.check import Check
from marloft.contract.release import Allocation, releases_folder
from marloft.experiment import effects as fx
from marloft.experiment import tables, trust
from marloft.experiment.decide import decide
from marloft.experiment.design import Experiment, allocation_of, design_hash
from marloft.experiment.latency import quantile_estimate, ratio_estimate
from marloft.experiment.results import AnalysisResult, ArmSummary, CtrPoint, Effect, Report
from marloft.experiment.size import detectable
from marloft.logs.read import Log, open_log

TIME_BINS = 12
TABLE_QUANTILES = (0.5, 0.95)


def analyze(experiment: Experiment, var: Path) -> Report:
    """Analyze what `var` holds (`log/` and `releases/`) about the experiment.

    Only answers whose record names the experiment count: requests without a user or with a pinned
    version carry no experiment and are outside. A failed check gives the decision `refused` and
    no effects.

    Raises:
        DataError: a log segment is damaged.
    """
    with open_log(var) as log:
        db = log.connection
        tables.make_requests(db, experiment)
        groups = trust.served_groups(db)
        allocations, design = trust.read_allocations(releases_folder(var), groups, experiment)
        checks = [trust.check_records(groups, experiment), design]
        if allocations:
            checks.append(trust.check_served_arm(groups, allocations))
            checks.append(trust.check_assignment(groups, allocations))
        phase, split = _phase(experiment, groups, allocations, design)
        tables.make_phase(db, phase)
        arms = _arm_summaries(db, experiment, split, tables.arm_rows(db))
        srm_p = None
        if design.ok and phase:
            srm, srm_p = trust.check_srm(split, {arm.name: arm.users for arm in arms})
            clicks = {arm.name: arm.clicks for arm in arms}
            checks += [srm, trust.check_outcomes(clicks, experiment, groups)]
        trusted = all(check.ok for check in checks)
        found = _effects(db, experiment, arms) if trusted else []
        results = _results(log, experiment, phase, arms, found, srm_p)
    return _report(experiment, checks, results)


def _phase(
    experiment: Experiment,
    groups: list[trust.ServedGroup],
    allocations: dict[int, Allocation],
    design: Check,
) -> tuple[list[int], Allocation]:
    """Return the releases to look at and their split.

    Without releases that can be trusted there is no phase: all are counted, none is judged.
    """
    if design.ok and allocations:
        phase = trust.current_phase(allocations)
        return phase, allocations[phase[0]]
    named = {group.release for group in groups if group.release is not None}
    return sorted(named), allocation_of(experiment)


def _report(experiment: Experiment, checks: list[Check], results: AnalysisResult) -> Report:
    if not results.effects:
        reasons = [
            f"{check.code}: {check.culprit}: {check.message}." for check in checks if not check.ok
        ]
        return Report(
            experiment=experiment.name,
            decision="refused",
            reasons=reasons,
            checks=checks,
            results=results,
        )
    candidate = experiment.candidate.name
    decision, reasons = decide(
        experiment,
        ctr=results.effect("ctr", candidate),
        model_time=results.effect("model_time", candidate),
        latency=results.effect("latency", candidate),
    )
    return Report(
        experiment=experiment.name,
        decision=decision,
        reasons=reasons,
        checks=checks,
        results=results,
    )


def _arm_summaries(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    split: Allocation,
    rows: dict[str, dict[str, float]],
) -> list[ArmSummary]:
    arms = []
    for arm in split.arms:
        row = rows.get(arm.name, {})
        impressions, clicks = int(row.get("impressions", 0)), int(row.get("clicks", 0))
        latency_ms = {}
        values, owners = tables.latencies(connection, arm.name)
        for quantile in (*TABLE_QUANTILES, experiment.metrics.latency.quantile):
            if len(values):
                latency_ms[f"{quantile:g}"] = quantile_estimate(
                    values, owners, quantile, experiment.decision.alpha
                )
        arms.append(
            ArmSummary(
                name=arm.name,
                version=arm.version,
                weight=arm.weight,
                users=int(row.get("users", 0)),
                requests=int(row.get("requests", 0)),
                failed=int(row.get("failed", 0)),
                impressions=impressions,
                clicks=clicks,
                ctr=clicks / impressions if impressions else None,
                model_time_ms=row.get("model_time_ms"),
                latency_ms=latency_ms,
            )
        )
    return arms


def _effects(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, arms: list[ArmSummary]
) -> list[Effect]:
    """Return the effects of each treatment that has users, against control."""
    rule = experiment.decision
    users = fx.user_aggregates(connection, "phase_users")
    control = users[experiment.control.name]
    ctr = fx.moments(control, fx.CTR)
    quantile = f"{experiment.metrics.latency.quantile:g}"
    found = []
    for arm in arms[1:]:
        if arm.name not in users:
            continue
        treatment = users[arm.name]
        found += [
            Effect(
                metric="ctr",
                arm=arm.name,
                estimate=fx.relative_effect(control, treatment, fx.CTR, rule.alpha),
                detectable=detectable(
                    ctr, control.count(), treatment.count(), rule.alpha, rule.power
                ),
                noninferiority_p=fx.noninferiority_p(
                    ctr, fx.moments(treatment, fx.CTR), rule.ctr_margin
                ),
            ),
            Effect(
                metric="model_time",
                arm=arm.name,
                estimate=fx.relative_effect(control, treatment, fx.MODEL_TIME, rule.alpha),
            ),
            Effect(
                metric="latency",
                arm=arm.name,
                estimate=ratio_estimate(arms[0].latency_ms[quantile], arm.latency_ms[quantile]),
            ),
        ]
    return found


def _results(
    log: Log,
    experiment: Experiment,
    phase: list[int],
    arms: list[ArmSummary],
    effects: list[Effect],
    srm_p: float | None,
) -> AnalysisResult:
    db = log.connection
    span = db.execute("SELECT min(time), max(time) FROM phase_requests").fetchone() or (None, None)
    first, last = (None if time is None else f"{time.isoformat()}Z" for time in span)
    mine = tables.count(db, "SELECT count(*) FROM experiment_requests")
    current = tables.count(db, "SELECT count(*) FROM phase_requests")
    answers = tables.count(db, "SELECT count(*) FROM predictions WHERE role = 'answer'")
    return AnalysisResult(
        design_hash=design_hash(experiment),
        first_time=first,
        last_time=last,
        releases=phase,
        earlier_requests=mine - current,
        outside_requests=answers - mine,
        log=log.counts,
        srm_p=srm_p,
        arms=arms,
        effects=effects,
        ctr_over_time=[
            CtrPoint(arm=arm, time=time, impressions=shown, ctr=ctr)
            for arm, time, shown, ctr in tables.ctr_over_time(db, TIME_BINS)
        ],
    )
