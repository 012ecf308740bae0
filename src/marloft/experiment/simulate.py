"""Logs of an experiment whose true effects are known: to rehearse an analysis before traffic.

Users differ (their click probability is Beta distributed), so impressions of one user are
correlated, as real ones are. Every record names its release and its recomputable arm.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from marloft.assignment import arm_of
from marloft.contract.manifest import WorkerSettings
from marloft.contract.records import (
    OUTCOMES_FOLDER,
    PREDICTIONS_FOLDER,
    OutcomeRecord,
    PredictionRecord,
)
from marloft.contract.release import (
    Release,
    ReleasedModel,
    ReleasedVersion,
    release_path,
    releases_folder,
)
from marloft.experiment.design import Experiment, allocation_of
from marloft.files import write_atomic, write_json

MODEL = "ranker"
_START = datetime(2026, 1, 1, tzinfo=UTC)


class Truth(Struct, frozen=True, kw_only=True):
    """What is true of one arm: mean CTR, model time and latency (ms; both are log-normal)."""

    ctr: float
    model_ms: float
    latency_ms: float


class World(Struct, frozen=True, kw_only=True):
    """A simulated audience; `truths` are in the order of the arms.

    `spread` is the sum of the Beta distribution's parameters: the smaller, the more users differ.
    """

    users: int
    requests_per_user: int
    truths: list[Truth]
    spread: float = 5.0
    seed: int = 0


def write_release(experiment: Experiment, var: Path, number: int = 1) -> None:
    """Write release `number` that carries the experiment's allocation."""
    blank = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
    model = ReleasedModel(
        default=experiment.control.version,
        versions={arm.version: blank for arm in experiment.arms},
        allocation=allocation_of(experiment),
    )
    release = Release(
        release=number,
        time=_START.isoformat(),
        actor="simulation",
        reason="rehearsal",
        models={MODEL: model},
        default_model=MODEL,
    )
    write_json(release_path(releases_folder(var), number), release)


def write_logs(experiment: Experiment, world: World, var: Path, release: int = 1) -> None:
    """Write one segment of predictions and one of outcomes for the whole audience."""
    rng = np.random.default_rng(world.seed)
    split = allocation_of(experiment)
    names = [arm.name for arm in experiment.arms]
    predictions: list[PredictionRecord] = []
    outcomes: list[OutcomeRecord] = []
    for user in map(str, range(world.users)):
        place = names.index(arm_of(split, user))
        for request in _requests(experiment, world, place, user, release, rng):
            predictions.append(request[0])
            outcomes.extend(request[1])
    encode = msgspec.json.Encoder().encode_lines
    segment = f"release-{release}.jsonl"
    write_atomic(var / PREDICTIONS_FOLDER / segment, encode(predictions))
    write_atomic(var / OUTCOMES_FOLDER / segment, encode(outcomes))


def _requests(
    experiment: Experiment,
    world: World,
    place: int,
    user: str,
    release: int,
    rng: np.random.Generator,
) -> list[tuple[PredictionRecord, list[OutcomeRecord]]]:
    arm, truth = experiment.arms[place], world.truths[place]
    top, event = experiment.metrics.ctr.top, experiment.metrics.ctr.event
    likes = rng.beta(truth.ctr * world.spread, (1 - truth.ctr) * world.spread)
    clicked = rng.random((world.requests_per_user, top)) < likes
    noise = np.exp(0.3 * rng.standard_normal((world.requests_per_user, 2)))
    seconds = rng.uniform(0, 3600, world.requests_per_user)
    items = list(range(1, top + 3))
    made = []
    for i in range(world.requests_per_user):
        request_id = f"r{release}-{user}-{i}"
        time = (_START + timedelta(hours=release, seconds=float(seconds[i]))).isoformat()
        prediction = PredictionRecord(
            time=time.replace("+00:00", "Z"),
            request_id=request_id,
            attempt=1,
            role="answer",
            status=200,
            user_id=user,
            model=MODEL,
            version=arm.version,
            intended_version=arm.version,
            archive_sha256=None,
            release=release,
            experiment=experiment.name,
            arm=arm.name,
            propensity=None,
            features=msgspec.Raw(b"null"),
            prediction=items,
            scores=None,
            queue_ms=0.1,
            predict_ms=round(float(truth.model_ms * noise[i, 0]), 4),
            latency_ms=round(float(truth.latency_ms * noise[i, 1]), 4),
            error=None,
            extra=None,
        )
        outcomes = [
            OutcomeRecord(
                time=prediction.time, request_id=request_id, item_id=item, event=event, value=None
            )
            for item, hit in zip(items[:top], clicked[i], strict=True)
            if hit
        ]
        made.append((prediction, outcomes))
    return made
