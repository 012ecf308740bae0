"""Which release a rollback goes back to, and what of it comes back."""

from pathlib import Path

import pytest

from marloft.contract.release import read_release, release_path, releases_folder
from marloft.deploy.release.decisions import draft_rollback
from marloft.deploy.release.write import rollback
from marloft.errors import ReleaseError
from marloft.files import write_json
from tests.releases import made_release
from tests.unit.deploy.release.conftest import NEXT, PLAIN, STEPPED, Ask, full_rollout, live, step
from tests.unit.deploy.release.test_decisions import BLANK, three_arms


def test_rollback_twice_goes_back_twice(ask: Ask, tmp_path: Path, store: Path) -> None:
    ask(PLAIN.replace(', "1.1": {}', ""))
    ask(PLAIN)
    ask(NEXT)
    var = tmp_path / "var"
    assert rollback(var, store).reason == "rollback to release 2"
    assert rollback(var, store).reason == "rollback to release 1"
    assert list(live(tmp_path).models["ranker"].versions) == ["1.0"]
    with pytest.raises(ReleaseError, match="nothing before it"):
        rollback(var, store)


def test_rollback_to_a_named_release(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN.replace(', "1.1": {}', ""))
    ask(PLAIN)
    folder = releases_folder(tmp_path / "var")
    assert draft_rollback(folder, live(tmp_path), 1).models == read_release(folder, 1).models
    with pytest.raises(ReleaseError, match="release 9 does not exist"):
        draft_rollback(folder, live(tmp_path), 9)


def test_rollback_ends_an_experiment_instead_of_taking_units_back(
    ask: Ask, tmp_path: Path, store: Path
) -> None:
    ask(weights=(90, 10))
    ask(weights=(50, 50))
    release = rollback(tmp_path / "var", store)
    model = release.models["ranker"]
    assert (model.default, model.allocation) == ("1.0", None)


def test_rollback_brings_a_model_back_that_has_left_but_not_its_experiment(tmp_path: Path) -> None:
    write_json(release_path(tmp_path, 7), three_arms())
    without = made_release({"outcomes": BLANK}, 8)
    back = draft_rollback(tmp_path, without, 7).models
    assert back == {"ranker": BLANK}


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
    full_rollout(ask, tmp_path)
    assert rollback(tmp_path / "var", store).reason == "rollback to release 1"
    with pytest.raises(ReleaseError, match="nothing before it"):
        rollback(tmp_path / "var", store)


def test_rollback_to_a_step_goes_to_its_default(ask: Ask, tmp_path: Path, store: Path) -> None:
    full_rollout(ask, tmp_path)
    ranker = rollback(tmp_path / "var", store, to=3).models["ranker"]
    assert (ranker.default, ranker.allocation, ranker.rollout) == ("1.0", None, None)
