"""Which versions may get traffic, and why others may not."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from harness import factories
from marloft.archive.manifest import read_manifest
from marloft.archive.pack import write_archive
from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Key, Release, ReleasedModel, ReleasedVersion
from marloft.deploy.control.admission import Admission
from marloft.deploy.control.golden_gate import GoldenGate, UnansweredError
from marloft.deploy.torchserve.management import Registered
from marloft.errors import ArchiveError, MarloftError
from marloft.files import sha256_file
from tests.releases import made_release

KEY: Key = ("ranker", "1.0")
RELEASE = 7


class Asked(GoldenGate):
    """Golden answers, set by hand."""

    def __init__(self) -> None:
        super().__init__(1)
        self.fault: str | None = None
        self.error: MarloftError | None = None
        self.silent = False
        self.times = 0

    def check(self, archive: Path, model: str, version: str, *, batch: int = 1) -> str | None:  # noqa: ARG002
        self.times += 1
        if self.silent:
            raise UnansweredError("no answer")
        if self.error is not None:
            raise self.error
        return self.fault


class Watched:
    def __init__(self, store: Path) -> None:
        self.now = 0.0
        self.gate = Asked()
        self.archive = store / "ranker-1.0.mar"
        self.archive.write_bytes(b"bytes")
        self.pinned = ReleasedVersion(sha256=sha256_file(self.archive), settings=WorkerSettings())
        self.admission = Admission(
            self.gate, store, store / "model_log.log", clock=lambda: self.now
        )

    def look(self, state: str, release: int = RELEASE, process: int = 100) -> dict[Key, str]:
        found = Registered(
            state="ready" if state == "ready" else "starting",
            default=True,
            workers={"9000": process},
        )
        self.admission.track(release, [{KEY: self.pinned}], {KEY: found})
        known = KEY in self.admission.admitted or KEY in self.admission.refused
        if found.state == "ready" and not known:
            self.admission.admit_ready(release, {KEY: self.pinned})
        return self.admission.refused


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_version_is_loaded_after_its_golden_answers_and_asked_once(watched: Watched) -> None:
    assert watched.look("starting") == {}
    assert watched.admission.admitted == {}
    assert watched.look("ready") == {}
    assert watched.admission.admitted == {KEY: watched.pinned.sha256}
    watched.look("ready")
    assert watched.gate.times == 1


def test_a_worker_that_restarts_leaves_its_version_loaded_and_is_counted(watched: Watched) -> None:
    watched.look("ready")
    watched.look("starting", process=-1)
    watched.look("ready", process=101)
    assert watched.admission.admitted == {KEY: watched.pinned.sha256}
    assert watched.admission.restarts == {KEY: 1}


def test_another_golden_answer_refuses_until_release_or_archive_change(watched: Watched) -> None:
    watched.gate.fault = "scores differ"
    assert watched.look("ready") == {KEY: "scores differ"}
    watched.now += 1e6
    assert watched.look("ready") == {KEY: "scores differ"}
    assert watched.gate.times == 1
    watched.gate.fault = None
    assert watched.look("ready", release=RELEASE + 1) == {}
    assert watched.admission.admitted == {KEY: watched.pinned.sha256}


def test_a_changed_archive_is_refused_and_tried_again_when_it_is_back(watched: Watched) -> None:
    watched.archive.write_bytes(b"other")
    (why,) = watched.look("ready").values()
    assert "is not the archive of release 7" in why
    assert watched.gate.times == 0
    watched.archive.write_bytes(b"bytes")
    assert watched.look("ready") == {}
    assert watched.admission.admitted == {KEY: watched.pinned.sha256}


def test_workers_that_die_again_and_again_are_refused_with_growing_pauses(
    watched: Watched,
) -> None:
    pauses = []
    for attempt in range(3):
        watched.admission.registered(KEY, watched.pinned.sha256)
        for process in range(3):
            refused = watched.look("starting", process=1000 * attempt + process + 1)
        assert refused[KEY].startswith(
            "its workers do not start: they end without a traceback, as by sys.exit or os._exit "
            "(no last words); `marloft verify "
        )
        begun = watched.now
        while watched.look("starting", process=1000 * attempt + 3):
            watched.now += 10
        pauses.append(watched.now - begun)
    assert pauses == [40, 70, 130]


def test_workers_that_never_get_ready_are_refused_after_torchserves_own_limit(
    watched: Watched,
) -> None:
    watched.look("starting")
    watched.now = 120
    assert watched.look("starting") == {}
    watched.now = 131
    (why,) = watched.look("starting").values()
    assert why.startswith("its workers do not start: not READY after 131 s, and no traceback in ")


def test_reason_of_workers_that_die_is_their_own(watched: Watched, tmp_path: Path) -> None:
    line = "2026-01-01T00:00:00,000 [WARN ] W-9000-ranker_1.0-stderr MODEL_LOG - "
    (tmp_path / "model_log.log").write_text(f"{line}no licence\n")
    watched.admission.registered(KEY, watched.pinned.sha256)
    for process in range(3):
        refused = watched.look("starting", process=process + 1)
    assert "(last words 'no licence')" in refused[KEY]


def test_no_answer_proves_nothing_until_it_happens_again_and_again(watched: Watched) -> None:
    watched.gate.silent = True
    for _ in range(4):
        assert watched.look("ready") == {}
    assert watched.admission.admitted == {}
    assert watched.look("ready") == {KEY: "no answer"}


def test_archive_that_cannot_be_asked_is_refused_with_the_reason(watched: Watched) -> None:
    watched.gate.error = ArchiveError("holds no archive.json")
    assert watched.look("ready") == {KEY: "holds no archive.json"}
    watched.now += 1e6
    assert watched.look("ready") == {KEY: "holds no archive.json"}


def test_nothing_is_known_after_torchserve_has_ended(watched: Watched) -> None:
    watched.look("ready")
    watched.admission.forget()
    assert watched.admission.admitted == {}
    watched.look("starting")
    assert watched.admission.admitted == {}


def test_a_version_that_is_not_registered_any_more_is_not_loaded(watched: Watched) -> None:
    watched.look("ready")
    watched.admission.track(RELEASE, [{KEY: watched.pinned}], {})
    assert watched.admission.admitted == {}


def test_tracking_asks_nothing_and_admission_says_whether_one_came_in(watched: Watched) -> None:
    found = Registered(state="ready", default=True)
    watched.admission.track(RELEASE, [{KEY: watched.pinned}], {KEY: found})
    assert (watched.gate.times, watched.admission.admitted) == (0, {})
    assert watched.admission.admit_ready(RELEASE, {KEY: watched.pinned})
    assert not watched.admission.admit_ready(RELEASE, {})


def test_versions_that_run_already_are_taken_for_what_the_routes_lead_to(watched: Watched) -> None:
    served = ReleasedVersion(sha256="served", settings=WorkerSettings())
    found = Registered(state="ready", default=True)
    watched.admission.track(RELEASE, [{KEY: served}, {KEY: watched.pinned}], {KEY: found})
    assert watched.admission.held == {KEY: "served"}


def test_silence_of_one_version_leaves_the_others_for_the_next_look(watched: Watched) -> None:
    watched.gate.silent = True
    (watched.archive.parent / "ranker-2.0.mar").write_bytes(b"bytes")
    both = {KEY: watched.pinned, ("ranker", "2.0"): watched.pinned}
    assert not watched.admission.admit_ready(RELEASE, both)
    assert watched.gate.times == 1


def served(tmp_path: Path, **settings: int) -> tuple[Admission, Release, Path]:
    """Return an admission whose store holds a packed 1.0 that served, and its release."""
    project = factories.write_project(tmp_path)
    store = project / "model_store"
    sidecar = write_archive(project / "archive_configs" / "ranker_v1.yaml", store)
    own = read_manifest(store / sidecar.file).settings
    pinned = ReleasedVersion(sha256=sidecar.sha256, settings=replace(own, **settings))
    release = made_release(
        {"ranker": ReleasedModel(default="1.0", versions={"1.0": pinned})}, RELEASE
    )
    admission = Admission(Asked(), store, tmp_path / "model_log.log")
    admission.admitted[KEY] = sidecar.sha256
    return admission, release, store / sidecar.file


def test_defaults_that_served_may_be_loaded_at_the_next_start(tmp_path: Path) -> None:
    admission, release, _ = served(tmp_path)
    assert admission.defaults(release) == ["ranker-1.0.mar"]


def test_defaults_with_other_settings_than_their_archive_have_to_be_registered(
    tmp_path: Path,
) -> None:
    admission, release, _ = served(tmp_path, batch_size=3)
    assert admission.defaults(release) == []


def test_defaults_that_were_changed_or_never_served_are_not_loaded(tmp_path: Path) -> None:
    admission, release, archive = served(tmp_path)
    archive.write_bytes(archive.read_bytes() + b" ")
    assert admission.defaults(release) == []
    archive.write_bytes(archive.read_bytes()[:-1])
    assert admission.defaults(release) == ["ranker-1.0.mar"]
    admission.forget()
    assert admission.defaults(release) == []
