"""Each command writes one new release and nothing else; what it may not do, it refuses."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from marloft.contract.release import newest_number, read_release, releases_folder
from marloft.deploy.release.decisions import draft_apply, draft_promote
from marloft.deploy.release.write import apply, move, promote, rollback, write_step
from marloft.errors import MarloftError, ReleaseError
from tests.unit.deploy.release.conftest import (
    LOG,
    NEXT,
    PLAIN,
    STEPPED,
    Ask,
    WriteFile,
    live,
    step,
    weights_of,
)


def events(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "var" / "events.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line) for line in lines]


def test_apply_writes_one_release_and_repeats_nothing(ask: Ask, tmp_path: Path) -> None:
    first = ask()
    assert first is not None
    assert (first.release, first.verb, first.models["ranker"].default) == (1, "apply", "1.0")
    assert ask() is None
    assert newest_number(releases_folder(tmp_path / "var")) == 1


def test_what_is_returned_is_what_was_written(ask: Ask, tmp_path: Path) -> None:
    assert ask() == live(tmp_path)


def test_apply_puts_the_experiments_split_into_the_release(ask: Ask) -> None:
    assert weights_of(ask(weights=(90, 10))) == [90, 10]


def test_refused_commands_write_nothing(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    for text in (PLAIN.replace('"1.1"', '"3.0"'), PLAIN.replace("ranker:", "Ranker:")):
        with pytest.raises(MarloftError):
            ask(text)
    with pytest.raises(MarloftError):
        promote(tmp_path / "var")
    assert newest_number(releases_folder(tmp_path / "var")) == 1
    assert len(events(tmp_path)) == 1


def test_each_command_writes_its_verb_and_one_event(
    ask: Ask, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    ask(weights=(50, 50))
    promote(tmp_path / "var")
    rollback(tmp_path / "var", store)
    folder = releases_folder(tmp_path / "var")
    releases = [read_release(folder, number) for number in (1, 2, 3)]
    assert [each.verb for each in releases] == ["apply", "promote", "rollback"]
    assert {each.actor for each in releases} == {"ada"}
    told = [(each["event"], each["actor"], each["release"]) for each in events(tmp_path)]
    assert told == [("apply", "ada", 1), ("promote", "ada", 2), ("rollback", "ada", 3)]
    assert [each["reason"] for each in events(tmp_path)] == [each.reason for each in releases]


def test_guardrails_and_log_policy_get_into_the_release(ask: Ask) -> None:
    guarded = PLAIN.replace('default: "1.0"', 'default: "1.0", guardrails: {p99_ms: 100}')
    release = ask(guarded + LOG)
    assert release is not None
    assert release.models["ranker"].guardrails.p99_ms == 100
    assert release.log.fsync == "batch"
    changed = ask(guarded)
    assert changed is not None
    assert changed.log.fsync == "never"


def test_rollback_refuses_when_the_archives_are_gone(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN.replace(', "1.1": {}', ""))
    ask(PLAIN)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ReleaseError, match="put that file back first"):
        rollback(tmp_path / "var", empty)
    assert live(tmp_path).release == 2


def test_default_before_stays_loaded_until_the_next_change(
    ask: Ask, tmp_path: Path, store: Path
) -> None:
    ask(PLAIN.replace(', "1.1": {}', ""))
    second = ask(NEXT.replace('"1.0": {}, ', ""))
    assert second is not None
    assert set(second.models["ranker"].standby) == {"1.0"}
    back = rollback(tmp_path / "var", store).models["ranker"]
    assert (back.default, set(back.versions), set(back.standby)) == ("1.0", {"1.0"}, {"1.1"})


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


def test_step_of_a_model_that_the_release_lacks_is_refused(ask: Ask, tmp_path: Path) -> None:
    release = ask()
    assert release is not None
    with pytest.raises(ReleaseError, match=r"has no model 'rankr'\. Did you mean 'ranker'\?"):
        write_step(tmp_path / "var", 1, "rankr", release.models["ranker"], "ramp", "held")


def test_move_takes_a_rollout_one_step_on(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    move(tmp_path / "var", live(tmp_path), "ranker", "advance", "held for 60 s")
    moved = live(tmp_path)
    assert (moved.release, moved.verb, moved.reason) == (3, "ramp", "held for 60 s")
    assert weights_of(moved) == [50, 50]


def test_move_takes_a_rollout_back_to_what_served_before(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    ask(STEPPED)
    move(tmp_path / "var", live(tmp_path), "ranker", "abandon", "error_ratio 5 %")
    moved = live(tmp_path)
    assert (moved.release, moved.verb, moved.reason) == (3, "rollback", "error_ratio 5 %")
    ranker = moved.models["ranker"]
    assert (ranker.default, ranker.allocation, ranker.rollout) == ("1.0", None, None)


def test_move_of_an_older_release_writes_nothing(ask: Ask, tmp_path: Path) -> None:
    ask(PLAIN)
    older = ask(STEPPED)
    assert older is not None
    step(tmp_path)
    move(tmp_path / "var", older, "ranker", "abandon", "error_ratio 5 %")
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


def test_promote_decides_again_when_an_apply_came_in_between(
    ask: Ask, write_file: WriteFile, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(PLAIN)
    ask(STEPPED)

    def slow(*words: Any) -> Any:
        draft = draft_promote(*words)
        if live(tmp_path).release == 2:
            apply(write_file(STEPPED + LOG), store, tmp_path / "var")
        return draft

    monkeypatch.setattr("marloft.deploy.release.write.draft_promote", slow)
    release = promote(tmp_path / "var")
    assert (release.release, release.models["ranker"].default) == (4, "1.1")
    assert release.log.fsync == "batch", "the release in between is not undone"
