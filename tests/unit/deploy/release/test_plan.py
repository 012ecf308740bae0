"""`plan` says what `apply` would do, and writes nothing."""

from pathlib import Path

import pytest

from marloft.contract.release import newest_number, releases_folder
from marloft.deploy.release.plan import Plan, changes_of, make_plan, warnings_of
from marloft.deploy.release.write import apply, rollback
from marloft.errors import ConfigError

PLAIN = 'default_model: ranker\nmodels: {ranker: {versions: {"1.0": {}}, default: "1.0"}}\n'
BOTH = PLAIN.replace('{"1.0": {}}', '{"1.0": {}, "1.1": {}}')
NEXT = BOTH.replace('default: "1.0"', 'default: "1.1"')
STEPPED = NEXT.replace('"1.1"}}', '"1.1", rollout: {steps: [5]}}}')


@pytest.fixture
def var(tmp_path: Path) -> Path:
    return tmp_path / "var"


def planned(var: Path, store: Path, text: str, **options: bool) -> Plan:
    return make_plan(written(var, text), store, var, **options)


def applied(var: Path, store: Path, text: str) -> None:
    assert apply(written(var, text), store, var) is not None


def written(var: Path, text: str) -> Path:
    path = var.parent / "deployment.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [PLAIN, BOTH, NEXT, STEPPED])
def test_plan_says_what_the_next_release_then_changed(var: Path, store: Path, text: str) -> None:
    applied(var, store, PLAIN.replace("{}", "{workers: 2}"))
    found = planned(var, store, text)
    assert newest_number(releases_folder(var)) == found.newest == 1
    applied(var, store, text)
    assert changes_of(releases_folder(var), 2) == found.changes != []
    assert planned(var, store, text) == Plan(newest=2, changes=[])


def test_plan_of_the_first_release_names_all(var: Path, store: Path) -> None:
    found = planned(var, store, PLAIN)
    assert found.newest == 0
    assert found.changes[0] == "ranker: new, default 1.0"


def test_plan_takes_the_options_of_apply(var: Path, store: Path) -> None:
    applied(var, store, BOTH)
    assert "by steps of 5, 100 %" in planned(var, store, STEPPED).changes[0]
    assert "at once" in planned(var, store, STEPPED, no_rollout=True).changes[0]


def test_plan_says_what_apply_would_refuse(var: Path, store: Path) -> None:
    applied(var, store, BOTH)
    applied(var, store, NEXT)
    rollback(var, store)
    found = planned(var, store, NEXT)
    assert found.refused is not None
    assert "superseded" in found.refused
    assert planned(var, store, NEXT, force=True).refused is None


def test_plan_of_a_wrong_file_is_an_error(var: Path, store: Path) -> None:
    with pytest.raises(ConfigError):
        planned(var, store, PLAIN.replace("default:", "defalt:"))


def test_warnings_are_those_of_the_release(var: Path, store: Path) -> None:
    applied(var, store, PLAIN)
    text = PLAIN.replace("{}", "{batch_size: 4}")
    (warning,) = planned(var, store, text).warnings
    applied(var, store, text)
    assert warnings_of(releases_folder(var), 2) == [warning]
    assert warnings_of(releases_folder(var), 1) == []
