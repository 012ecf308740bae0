"""Deployment files for the store's ranker, applied in a state folder of the test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from marloft.contract.release import Release, read_release, releases_folder
from marloft.deploy.release.rollouts import advance
from marloft.deploy.release.write import apply, write_step

SPLIT = """\
name: feed_ab
hypothesis: as good
arms:
  - {{name: control, version: "{control}", weight: {weights[0]}}}
  - {{name: treatment, version: "{treatment}", weight: {weights[1]}}}
decision: {{ctr_margin: 0.1, latency_margin: 0.25}}
plan: {{users: 100, duration: 60s}}
"""
PLAIN = (
    'default_model: ranker\nmodels: {ranker: {versions: {"1.0": {}, "1.1": {}}, default: "1.0"}}\n'
)
WITH_SPLIT = PLAIN.replace('default: "1.0"', 'default: "1.0", experiment: experiment.yaml')
NEXT = PLAIN.replace('default: "1.0"', 'default: "1.1"')
STEPPED = NEXT.replace('"1.1"}}', '"1.1", rollout: {steps: [5, 50]}}}')
LOG = "log: {fsync: batch}\n"

WriteFile = Callable[..., Path]
Ask = Callable[..., Release | None]


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """Write deployment.yaml, and with weights the split that it then names."""

    def write(text: str = PLAIN, weights: tuple[int, int] | None = None) -> Path:
        path = tmp_path / "deployment.yaml"
        if weights is not None:
            filled = SPLIT.format(control="1.0", treatment="1.1", weights=weights)
            (tmp_path / "experiment.yaml").write_text(filled)
            text = WITH_SPLIT
        path.write_text(text)
        return path

    return write


@pytest.fixture
def ask(write_file: WriteFile, tmp_path: Path, store: Path) -> Ask:
    """Write deployment.yaml (and the split) and apply it."""

    def run(
        text: str = PLAIN, weights: tuple[int, int] | None = None, **options: bool
    ) -> Release | None:
        return apply(write_file(text, weights), store, tmp_path / "var", **options)

    return run


def live(folder: Path) -> Release:
    """Return the newest release of the state folder below `folder`."""
    return read_release(releases_folder(folder / "var"))


def step(folder: Path, number: int | None = None) -> Release | None:
    """Write the next step of the ranker's roll-out, as the controller does."""
    newest = live(folder)
    changed = advance(newest.models["ranker"])
    return write_step(
        folder / "var", number or newest.release, "ranker", changed, "ramp", "held for 60 s"
    )


def weights_of(release: Release | None) -> list[int]:
    """Return the weights of the ranker's split, control's first."""
    assert release is not None
    allocation = release.models["ranker"].allocation
    assert allocation is not None
    return [arm.weight for arm in allocation.arms]


def full_rollout(ask: Ask, folder: Path) -> None:
    """Roll 1.1 out to its end: releases 1 to 5."""
    ask(PLAIN)
    ask(STEPPED)
    while step(folder) and live(folder).models["ranker"].rollout:
        pass
