"""What may follow the newest release: the winner, the ramp, what was superseded."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import LogPolicy
from marloft.contract.release import (
    Allocation,
    Arm,
    Release,
    ReleasedModel,
    ReleasedVersion,
)
from marloft.deploy.release.decisions import (
    Proposal,
    check_proposal,
    draft_apply,
    draft_promote,
    with_models,
)
from marloft.deploy.release.resolve import Wanted
from marloft.deploy.release.rollouts import abandon
from marloft.deploy.release.write import promote, rollback, write_step
from marloft.errors import ReleaseError
from tests.releases import made_release
from tests.unit.deploy.release.conftest import (
    NEXT,
    PLAIN,
    STEPPED,
    WITH_SPLIT,
    Ask,
    live,
    step,
    weights_of,
)

PINNED = ReleasedVersion(sha256="a" * 64, settings=WorkerSettings())
BLANK = ReleasedModel(default="1.0", versions={"1.0": PINNED, "1.1": PINNED, "1.2": PINNED})


def three_arms() -> Release:
    versions = {"control": "1.0", "first": "1.1", "second": "1.2"}
    arms = [Arm(name=name, version=version, weight=1) for name, version in versions.items()]
    split = Allocation(name="feed_ab", salt="s", unit="user_id", arms=arms)
    return made_release({"ranker": replace(BLANK, allocation=split)}, 7)


def wanted(model: ReleasedModel) -> Wanted:
    return Wanted(
        models={"ranker": model}, default_model="ranker", plans={}, log=LogPolicy(), workflows=[]
    )


def test_first_release_says_which_file_it_comes_from_and_no_more(tmp_path: Path) -> None:
    draft = draft_apply(None, wanted(BLANK), tmp_path / "deployment.yaml")
    assert draft is not None
    assert (draft.models, draft.reason) == ({"ranker": BLANK}, "apply deployment.yaml")


def test_a_file_that_asks_for_what_is_live_leads_to_no_draft(tmp_path: Path) -> None:
    live_now = made_release({"ranker": BLANK}, 7)
    assert draft_apply(live_now, wanted(BLANK), tmp_path / "deployment.yaml") is None
    logged = replace(wanted(BLANK), log=LogPolicy(keep_days=3))
    draft = draft_apply(live_now, logged, tmp_path / "deployment.yaml")
    assert draft is not None
    assert draft.log.keep_days == 3


def test_models_in_the_place_of_others_leave_the_rest_of_the_release() -> None:
    both = made_release({"ranker": BLANK, "outcomes": BLANK}, 7, LogPolicy(keep_days=3))
    changed = replace(BLANK, default="1.1")
    draft = with_models(both, {"ranker": changed}, "because")
    assert draft.models == {"ranker": changed, "outcomes": BLANK}
    assert (draft.default_model, draft.log.keep_days, draft.reason) == ("ranker", 3, "because")


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


def test_ramp_moves_units_from_control_to_treatment_only(ask: Ask, tmp_path: Path) -> None:
    ask(weights=(90, 10))
    assert weights_of(ask(weights=(50, 50))) == [50, 50]
    with pytest.raises(ReleaseError, match="only move from 'control'"):
        ask(weights=(60, 40))
    with pytest.raises(ReleaseError, match="keep the sum"):
        ask(weights=(5, 5))
    assert live(tmp_path).release == 2
    assert weights_of(ask(weights=(60, 40), reassign=True)) == [60, 40]


def test_apply_refuses_a_file_that_a_rollback_superseded(
    ask: Ask, tmp_path: Path, store: Path
) -> None:
    ask(PLAIN)
    ask(NEXT)
    rollback(tmp_path / "var", store)
    with pytest.raises(ReleaseError, match=r"release 3 \(rollback to release 1, by .*superseded"):
        ask(NEXT)
    forced = ask(NEXT, force=True)
    assert forced is not None
    assert forced.release == 4


def test_apply_names_the_rollback_that_superseded_a_file_among_several(
    ask: Ask, tmp_path: Path, store: Path
) -> None:
    for text in (PLAIN.replace(', "1.1": {}', ""), PLAIN, NEXT):
        ask(text)
    for _ in range(2):
        rollback(tmp_path / "var", store)
    with pytest.raises(
        ReleaseError, match=r"asks for release 3, which release 4 \(rollback to release 2"
    ):
        ask(NEXT)


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


def test_apply_refuses_a_file_that_a_promote_superseded(ask: Ask, tmp_path: Path) -> None:
    ask(weights=(50, 50))
    promote(tmp_path / "var")
    said = r"asks for release 1, which release 2 \(promote ranker 1\.1, .*\) superseded; edit it to"
    with pytest.raises(ReleaseError, match=said):
        ask(weights=(50, 50))


def test_experiment_of_a_model_that_is_new_has_no_weights_to_keep(tmp_path: Path) -> None:
    current, draft = made_release({"outcomes": BLANK}, 7), with_models(three_arms(), {}, "because")
    proposal = Proposal(
        file=tmp_path / "deployment.yaml",
        folder=tmp_path,
        newest=7,
        current=current,
        wanted=wanted(draft.models["ranker"]),
        draft=draft,
    )
    check_proposal(proposal, force=True)


def test_apply_lets_a_file_go_back_when_nothing_superseded_it(ask: Ask) -> None:
    ask(PLAIN)
    ask(NEXT)
    assert ask(PLAIN) is not None


def test_promote_makes_the_treatment_default_and_ends_the_experiment(ask: Ask) -> None:
    release = ask(weights=(50, 50))
    assert release is not None
    draft = draft_promote(release, None, None)
    model = draft.models["ranker"]
    assert (model.default, model.allocation) == ("1.1", None)
    assert draft.reason == "promote ranker 1.1, experiment feed_ab ended"
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


def test_promote_wants_a_winner_where_there_are_several_treatments() -> None:
    said = r"None is no treatment of feed_ab; choose one with --version: 1\.1, 1\.2\."
    with pytest.raises(ReleaseError, match=said):
        draft_promote(three_arms(), None, None)
    model = draft_promote(three_arms(), None, "1.2").models["ranker"]
    assert (model.default, model.allocation) == ("1.2", None)


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


def test_promote_without_an_experiment_says_what_to_do() -> None:
    with pytest.raises(ReleaseError, match=r"edit deployment\.yaml"):
        draft_promote(made_release({"ranker": BLANK}, 1), None, None)


def test_promote_ends_a_rollout_with_all_traffic(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    release = promote(tmp_path / "var")
    assert release.reason == "promote ranker 1.1, the roll-out of 1.1 ended"
    assert (release.models["ranker"].default, release.models["ranker"].rollout) == ("1.1", None)
    assert ask(STEPPED) is None
