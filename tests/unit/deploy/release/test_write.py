"""Each command writes one new release and nothing else; what it may not do, it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marloft.contract.release import Release, newest_number, read_release, releases_folder
from marloft.deploy.release.decisions import draft_apply
from marloft.deploy.release.rollouts import abandon, advance
from marloft.deploy.release.write import apply, promote, rollback, write_step
from marloft.errors import ConfigError, MarloftError, ReleaseError

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
LOG = "log: {fsync: batch}\n"
STEPPED = NEXT.replace('"1.1"}}', '"1.1", rollout: {steps: [5, 50]}}}')


@pytest.fixture
def ask(tmp_path: Path, store: Path) -> Callable[..., Release | None]:
    """Write deployment.yaml (and the split) and apply it."""

    def run(
        text: str = PLAIN, weights: tuple[int, int] | None = None, **options: bool
    ) -> Release | None:
        if weights is not None:
            filled = SPLIT.format(control="1.0", treatment="1.1", weights=weights)
            (tmp_path / "experiment.yaml").write_text(filled)
            text = WITH_SPLIT
        (tmp_path / "deployment.yaml").write_text(text)
        return apply(tmp_path / "deployment.yaml", store, tmp_path / "var", **options)

    return run


def live(folder: Path) -> Release:
    return read_release(releases_folder(folder / "var"))


def step(folder: Path, number: int | None = None) -> Release | None:
    """Write the next step of the ranker's roll-out, as the controller does."""
    newest = live(folder)
    changed = advance(newest.models["ranker"])
    return write_step(
        folder / "var", number or newest.release, "ranker", changed, "ramp", "held for 60 s"
    )


def weights_of(release: Release | None) -> list[int]:
    assert release is not None
    allocation = release.models["ranker"].allocation
    assert allocation is not None
    return [arm.weight for arm in allocation.arms]


Ask = Callable[..., Release | None]


def test_apply_writes_one_release_and_repeats_nothing(ask: Ask, tmp_path: Path) -> None:
    first = ask()
    assert first is not None
    assert (first.release, first.verb, first.models["ranker"].default) == (1, "apply", "1.0")
    assert ask() is None
    assert newest_number(releases_folder(tmp_path / "var")) == 1


def test_apply_puts_the_experiments_split_into_the_release(ask: Ask) -> None:
    assert weights_of(ask(weights=(90, 10))) == [90, 10]


@pytest.mark.parametrize(
    ("control", "treatment", "said"),
    [("1.0", "7.0", "does not list"), ("1.1", "1.0", "must serve the default version")],
)
def test_apply_refuses_arms_that_do_not_fit_the_deployment(
    ask: Ask, tmp_path: Path, control: str, treatment: str, said: str
) -> None:
    text = SPLIT.format(control=control, treatment=treatment, weights=(1, 1))
    (tmp_path / "experiment.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        ask(WITH_SPLIT)


def test_ramp_moves_units_from_control_to_treatment_only(ask: Ask, tmp_path: Path) -> None:
    ask(weights=(90, 10))
    assert weights_of(ask(weights=(50, 50))) == [50, 50]
    with pytest.raises(ReleaseError, match="only move from 'control'"):
        ask(weights=(60, 40))
    with pytest.raises(ReleaseError, match="keep the sum"):
        ask(weights=(5, 5))
    assert live(tmp_path).release == 2
    assert weights_of(ask(weights=(60, 40), reassign=True)) == [60, 40]


def test_promote_makes_the_treatment_default_and_ends_the_experiment(
    ask: Ask, tmp_path: Path
) -> None:
    ask(weights=(50, 50))
    release = promote(tmp_path / "var")
    model = release.models["ranker"]
    assert (model.default, model.allocation, release.verb) == ("1.1", None, "promote")
    assert set(model.versions) == {"1.0", "1.1"}, "the version before stays, for a fast rollback"


@pytest.mark.parametrize(
    ("model", "version", "said"),
    [
        (None, "1.0", "no treatment of feed_ab"),
        ("rankr", None, "Did you mean 'ranker'?"),
    ],
)
def test_promote_refuses_what_is_no_treatment(
    ask: Ask, tmp_path: Path, model: str | None, version: str | None, said: str
) -> None:
    ask(weights=(50, 50))
    with pytest.raises(ReleaseError, match=said.replace("?", r"\?")):
        promote(tmp_path / "var", model, version)


@pytest.mark.parametrize("words", [("ranker@challenger", None), (None, "challenger")])
def test_promote_takes_an_alias(
    ask: Ask, tmp_path: Path, words: tuple[str | None, str | None]
) -> None:
    ask(weights=(50, 50))
    aliased = WITH_SPLIT.replace("experiment:", 'aliases: {challenger: "1.1"}, experiment:')
    release = ask(aliased)
    assert release is not None
    assert release.models["ranker"].aliases == {"challenger": "1.1"}
    assert promote(tmp_path / "var", *words).models["ranker"].default == "1.1"


def test_promote_without_an_experiment_says_what_to_do(ask: Ask, tmp_path: Path) -> None:
    ask()
    with pytest.raises(ReleaseError, match=r"edit deployment\.yaml"):
        promote(tmp_path / "var")


def test_rollback_twice_goes_back_twice(ask: Ask, tmp_path: Path, store: Path) -> None:
    ask(PLAIN.replace(', "1.1": {}', ""))
    ask(PLAIN)
    ask(PLAIN.replace('default: "1.0"', 'default: "1.1"'))
    var = tmp_path / "var"
    assert rollback(var, store).reason == "rollback to release 2"
    assert rollback(var, store).reason == "rollback to release 1"
    assert list(live(tmp_path).models["ranker"].versions) == ["1.0"]
    with pytest.raises(ReleaseError, match="nothing before it"):
        rollback(var, store)


def test_rollback_to_a_named_release(ask: Ask, tmp_path: Path, store: Path) -> None:
    ask(PLAIN.replace(', "1.1": {}', ""))
    ask(PLAIN)
    assert (
        rollback(tmp_path / "var", store, to=1).models
        == read_release(releases_folder(tmp_path / "var"), 1).models
    )
    with pytest.raises(ReleaseError, match="release 9 does not exist"):
        rollback(tmp_path / "var", store, to=9)


def test_rollback_ends_an_experiment_instead_of_taking_units_back(
    ask: Ask, tmp_path: Path, store: Path
) -> None:
    ask(weights=(90, 10))
    ask(weights=(50, 50))
    release = rollback(tmp_path / "var", store)
    model = release.models["ranker"]
    assert (model.default, model.allocation) == ("1.0", None)


def test_rollback_refuses_when_the_archives_are_gone(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN.replace(', "1.1": {}', ""))
    ask(PLAIN)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ReleaseError, match="put that file back first"):
        rollback(tmp_path / "var", empty)


def test_apply_refuses_a_file_that_a_rollback_superseded(
    ask: Ask, tmp_path: Path, store: Path
) -> None:
    ask(PLAIN)
    bad = PLAIN.replace('default: "1.0"', 'default: "1.1"')
    ask(bad)
    rollback(tmp_path / "var", store)
    with pytest.raises(ReleaseError, match=r"release 3 \(rollback to release 1, by .*superseded"):
        ask(bad)
    forced = ask(bad, force=True)
    assert forced is not None
    assert forced.release == 4


def test_apply_lets_a_file_go_back_when_nothing_superseded_it(ask: Ask) -> None:
    ask(PLAIN)
    ask(PLAIN.replace('default: "1.0"', 'default: "1.1"'))
    assert ask(PLAIN) is not None


def test_refused_commands_write_nothing(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    for text in (PLAIN.replace('"1.1"', '"3.0"'), PLAIN.replace("ranker:", "Ranker:")):
        with pytest.raises(MarloftError):
            ask(text)
    assert newest_number(releases_folder(tmp_path / "var")) == 1


def test_apply_of_another_default_with_steps_begins_a_rollout(ask: Ask) -> None:
    ask(PLAIN)
    release = ask(STEPPED)
    assert release is not None
    assert release.models["ranker"].default == "1.0"
    assert weights_of(release) == [95, 5]
    assert release.reason == "apply deployment.yaml; ranker begins to roll out 1.1 from 1.0"


def test_first_apply_needs_no_rollout(ask: Ask) -> None:
    release = ask(STEPPED)
    assert release is not None
    assert (release.models["ranker"].default, release.models["ranker"].rollout) == ("1.1", None)


def test_apply_repeats_nothing_at_any_step_of_a_rollout(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    while live(tmp_path).models["ranker"].rollout is not None:
        assert ask(STEPPED) is None
        assert step(tmp_path) is not None
    assert live(tmp_path).models["ranker"].default == "1.1"
    assert live(tmp_path).release == 5
    assert ask(STEPPED) is None


def test_apply_without_rollout_takes_over_at_once(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    release = ask(STEPPED, no_rollout=True)
    assert release is not None
    assert (release.models["ranker"].default, release.models["ranker"].rollout) == ("1.1", None)
    assert ask(STEPPED) is None


def test_step_is_written_by_the_controller_in_its_own_name(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    written = step(tmp_path)
    assert written is not None
    assert (written.release, written.verb, written.actor) == (3, "ramp", "marloft serve")
    assert (tmp_path / "var" / "events.jsonl").read_text().count('"actor":"marloft serve"') == 1


def test_step_is_not_written_after_a_newer_release(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    assert step(tmp_path) is not None
    assert step(tmp_path, number=2) is None
    assert live(tmp_path).release == 3


def test_apply_decides_again_when_a_step_came_in_between(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(PLAIN)
    ask(STEPPED)

    def slow(*words: Any) -> Any:
        draft = draft_apply(*words)
        if live(tmp_path).release == 2:
            step(tmp_path)
        return draft

    monkeypatch.setattr("marloft.deploy.release.decisions.draft_apply", slow)
    more = ask(STEPPED.replace("steps: [5, 50]", "steps: [5, 50], hold_s: 1") + LOG)
    assert more is not None
    assert more.release == 4
    assert weights_of(more) == [50, 50], "the step in between is not undone"


def test_apply_refuses_a_file_that_an_automatic_rollback_superseded(
    ask: Ask, tmp_path: Path
) -> None:
    ask(PLAIN)
    ask(STEPPED)
    step(tmp_path)
    back = abandon(live(tmp_path).models["ranker"])
    assert write_step(tmp_path / "var", 3, "ranker", back, "rollback", "error_ratio 5 %")
    with pytest.raises(ReleaseError, match=r"release 4 \(error_ratio 5 %, by marloft serve\)"):
        ask(STEPPED)
    assert ask(PLAIN) is None, "the file that asks for what is live again has nothing to do"
    assert ask(STEPPED, force=True) is not None


def test_rollback_ends_a_rollout_with_the_default_before(
    ask: Ask, tmp_path: Path, store: Path
) -> None:
    ask(PLAIN)
    ask(STEPPED)
    step(tmp_path)
    step(tmp_path)
    assert live(tmp_path).models["ranker"].default == "1.1"
    release = rollback(tmp_path / "var", store)
    assert release.reason == "rollback of the roll-out of ranker"
    assert (release.models["ranker"].default, release.models["ranker"].rollout) == ("1.0", None)


def test_rollback_skips_the_steps_of_a_rollout(ask: Ask, tmp_path: Path, store: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    while step(tmp_path) and live(tmp_path).models["ranker"].rollout:
        pass
    assert rollback(tmp_path / "var", store).reason == "rollback to release 1"
    with pytest.raises(ReleaseError, match="nothing before it"):
        rollback(tmp_path / "var", store)


def test_rollback_to_a_step_goes_to_its_default(ask: Ask, tmp_path: Path, store: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    while step(tmp_path) and live(tmp_path).models["ranker"].rollout:
        pass
    ranker = rollback(tmp_path / "var", store, to=3).models["ranker"]
    assert (ranker.default, ranker.allocation, ranker.rollout) == ("1.0", None, None)


def test_promote_ends_a_rollout_with_all_traffic(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    release = promote(tmp_path / "var")
    assert release.reason == "promote ranker 1.1, the roll-out of 1.1 ended"
    assert (release.models["ranker"].default, release.models["ranker"].rollout) == ("1.1", None)
    assert ask(STEPPED) is None


def test_default_before_stays_loaded_until_the_next_change(
    ask: Ask, tmp_path: Path, store: Path
) -> None:
    ask(PLAIN.replace(', "1.1": {}', ""))
    second = ask(NEXT.replace('"1.0": {}, ', ""))
    assert second is not None
    assert set(second.models["ranker"].standby) == {"1.0"}
    back = rollback(tmp_path / "var", store).models["ranker"]
    assert (back.default, set(back.versions), set(back.standby)) == ("1.0", {"1.0"}, {"1.1"})


def test_guardrails_and_log_policy_get_into_the_release(ask: Ask) -> None:
    guarded = PLAIN.replace('default: "1.0"', 'default: "1.0", guardrails: {p99_ms: 100}')
    release = ask(guarded + LOG)
    assert release is not None
    assert release.models["ranker"].guardrails.p99_ms == 100
    assert release.log.fsync == "batch"
    changed = ask(guarded)
    assert changed is not None
    assert changed.log.fsync == "never"
