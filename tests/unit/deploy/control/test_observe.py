"""What is real is asked; a workflow leaves with the releases that named it, and only then."""

from pathlib import Path

from msgspec import structs

from marloft.contract.release import ReleasedModel, release_path, releases_folder
from marloft.deploy.control.admission import Admission
from marloft.deploy.control.observe import Observer, RetiredWorkflows
from marloft.deploy.ports import Ports
from marloft.files import write_atomic, write_json
from tests.unit.deploy.control.fakes import Bench
from tests.unit.deploy.control.test_reconcile import released


def test_workflow_that_an_earlier_release_named_is_retired(tmp_path: Path) -> None:
    releases = [
        structs.replace(released("1.0", number=number), workflows=workflows)
        for number, workflows in enumerate((["a"], ["a", "b"], ["b"], ["a"]), start=1)
    ]
    for release in releases:
        write_json(release_path(tmp_path, release.release), release)
    retired = RetiredWorkflows(tmp_path)
    assert [retired.of(release) for release in releases] == [set(), set(), {"a"}, {"b"}]
    assert RetiredWorkflows(tmp_path).of(releases[3]) == {"b"}, "after a restart too"


def test_damaged_earlier_release_is_passed_over(tmp_path: Path) -> None:
    write_atomic(release_path(tmp_path, 1), "{")
    assert RetiredWorkflows(tmp_path).of(released("1.0", number=2)) == set()


def test_a_release_that_cannot_be_read_any_more_cannot_be_kept_serving(
    tmp_path: Path, store: Path
) -> None:
    bench = Bench(tmp_path, store)
    first = bench.release(1, ReleasedModel(default="1.0", versions={"1.0": bench.pin("1.0")}))
    bench.controller.start(first, running=False)
    bench.steps()
    release_path(releases_folder(bench.project.var), 1).write_text("{")
    bench.release(2, ReleasedModel(default="1.1", versions={"1.1": bench.pin("1.1")}))
    bench.steps(2)
    assert bench.label == "2"
    assert bench.live().serving == {"ranker": 2}


def test_without_routes_nothing_is_in_force(tmp_path: Path, store: Path) -> None:
    bench = Bench(tmp_path, store)
    admission = Admission(bench.gate, store, tmp_path / "log")
    observer = Observer(
        bench.project,
        bench.torchserve,
        bench.workflows,
        bench.in_flight,
        bench.acceptance,
        admission,
        Ports(),
    )
    assert observer.in_force() is None
    observed = observer.observe(released("1.0"))
    assert (observed.routes, observed.before, observed.pins) == (None, None, {})
