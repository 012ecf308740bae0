"""People are told once what is live and once why something is refused, in words of the release."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Allocation, Arm, Key, Release, ReleasedModel, ReleasedVersion
from marloft.deploy.control.announce import Announcer, drift, summary
from marloft.deploy.torchserve.management import Registered
from tests.releases import made_release

KEY: Key = ("ranker", "2.0")
PINNED = ReleasedVersion(sha256="a" * 64, settings=WorkerSettings(batch_size=4))
SPLIT = Allocation(
    name="feed_ab",
    salt="s",
    unit="user_id",
    arms=[
        Arm(name="control", version="1.0", weight=90),
        Arm(name="treatment", version="2.0", weight=10),
    ],
)


def released(number: int = 7) -> Release:
    versions = {"1.0": PINNED, "2.0": PINNED, "3.0": PINNED}
    ranker = ReleasedModel(default="1.0", versions=versions, allocation=SPLIT)
    outcomes = ReleasedModel(default="1.0", versions={"1.0": PINNED}, standby={"0.9": PINNED})
    return made_release({"ranker": ranker, "outcomes": outcomes}, number)


class Told:
    """An announcer and what it said."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.said: list[str] = []
        self.announcer = Announcer(var, self.said.append)

    def announce(
        self,
        number: int = 7,
        live: bool = False,
        refused: dict[Key, str] | None = None,
        resting: frozenset[Key] = frozenset(),
    ) -> list[str]:
        """Announce and return what was new."""
        before = len(self.said)
        self.announcer.announce_changes(
            released(number), is_live=live, refused=refused or {}, resting=resting
        )
        return self.said[before:]

    def events(self) -> list[Any]:
        path = self.var / "events.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [msgspec.json.decode(line) for line in lines]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_each_live_release_is_told_once(told: Told) -> None:
    assert told.announce(live=False) == []
    assert told.announce(live=True) == [f"release 7 is live: {summary(released())}"]
    assert told.announce(live=True) == []
    assert told.announce(live=False) == []
    assert told.announce(live=True) == [], "it was told before a short interruption"
    (line,) = told.announce(8, live=True)
    assert line.startswith("release 8 is live: ")
    assert told.events() == []


def test_a_rest_and_its_end_are_told_once(told: Told) -> None:
    assert told.announce(resting=frozenset({KEY})) == ["no worker lives of ranker 2.0"]
    assert told.announce(resting=frozenset({KEY})) == []
    assert told.announce() == ["a worker is back of ranker 2.0"]
    assert [event["event"] for event in told.events()] == ["rests", "rests no more"]


def test_each_refusal_is_told_once_and_written_down(told: Told) -> None:
    assert told.announce(refused={KEY: "scores differ"}) == ["refused ranker 2.0: scores differ"]
    assert told.announce(refused={KEY: "scores differ"}) == []
    (event,) = told.events()
    assert {name: event[name] for name in ("event", "model", "version", "why")} == {
        "event": "refused",
        "model": "ranker",
        "version": "2.0",
        "why": "scores differ",
    }


def test_another_reason_and_a_second_refusal_are_told(told: Told) -> None:
    told.announce(refused={KEY: "scores differ"})
    assert told.announce(refused={KEY: "no answer"}) == ["refused ranker 2.0: no answer"]
    told.announce(refused={})
    assert told.announce(refused={KEY: "no answer"}) == ["refused ranker 2.0: no answer"]
    assert [event["why"] for event in told.events()] == ["scores differ", "no answer", "no answer"]


def test_summary_names_defaults_other_versions_and_the_split() -> None:
    assert summary(released()) == (
        "ranker 1.0 (also 2.0, 3.0), feed_ab splits users over control 1.0: 90, treatment 2.0: 10; "
        "outcomes 1.0"
    )


def test_settings_that_only_a_restart_changes_are_told_with_both_figures() -> None:
    as_released = Registered(state="ready", default=True, batch_size=4, max_batch_delay_ms=1)
    others = Registered(state="ready", default=True, batch_size=16, max_batch_delay_ms=9)
    keys = [("ranker", "1.0"), ("outcomes", "0.9")]
    assert drift(released(), dict.fromkeys(keys, as_released)) is None
    assert drift(released(), {}) is None, "what is not registered yet will come as released"
    assert drift(released(), {("ranker", "1.0"): others, ("outcomes", "0.9"): others}) == (
        "ranker 1.0 runs with batch_size 16, release 7 says 4; "
        "ranker 1.0 runs with max_batch_delay_ms 9, release 7 says 1; "
        "outcomes 0.9 runs with batch_size 16, release 7 says 4; "
        "outcomes 0.9 runs with max_batch_delay_ms 9, release 7 says 1; "
        "TorchServe takes it when the version is loaded again."
    )


def test_number_of_workers_is_no_drift() -> None:
    more = Registered(state="ready", default=True, min_workers=9, batch_size=4)
    assert drift(released(), {("ranker", "1.0"): more}) is None
