"""A workflow leaves with the releases that named it, and only then."""

from pathlib import Path

from msgspec import structs

from marloft.contract.release import release_path
from marloft.deploy.control.retired import RetiredWorkflows
from marloft.files import write_atomic, write_json
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
