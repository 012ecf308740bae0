"""Each hostile archive is refused with its cause's code and its culprit; good ones are not."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness import factories
from harness.hostile_archives.archives import (
    HOSTILE_ARCHIVES,
    GoodArchive,
    HostileArchive,
    good_archive,
)
from harness.hostile_archives.building import ARCHIVE
from harness.hostile_archives.handlers import HOSTILE_HANDLERS
from marloft.archive.pack import write_archive
from marloft.archive.sign import sign
from marloft.archive.verify import ANY_ORIGIN, verify
from marloft.contract.policy import TrustPolicy
from marloft.deploy.release.resolve import resolve
from marloft.errors import ReleaseError

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}}, default: "1.0", policy: %s}
"""


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marker") / "ran"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, marker: Path) -> GoodArchive:
    """A good archive whose handler would leave a mark if anybody imported it."""
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    handler = project / "handlers" / "ranker.py"
    mark = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
    handler.write_text(handler.read_text() + "\n" + mark)
    config, store = project / "archive_configs" / "ranker_v1.yaml", project / "model_store"
    lines = "card: ../build/card/model_card.md\naudit: ../build/fairness/fairness.json\n"
    if "\ncard:" not in config.read_text():
        config.write_text(config.read_text() + lines)
    return good_archive(store / write_archive(config, store).file, project / "keys")


@pytest.mark.parametrize("hostile", HOSTILE_ARCHIVES, ids=lambda hostile: hostile.name)
def test_hostile_archive_is_refused_by_its_code_and_culprit(
    hostile: HostileArchive, good: GoodArchive, tmp_path: Path, marker: Path
) -> None:
    path = tmp_path / ARCHIVE
    policy = hostile.make(good, path) or ANY_ORIGIN
    report = verify(path, policy)
    found = [(check.code, check.culprit) for check in report.checks if not check.ok]
    assert found == [(hostile.code, hostile.culprit)]
    assert not marker.exists()


def test_the_mark_that_no_archive_left_would_be_seen(good: GoodArchive, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code = good.members["ranker.py"].decode().rpartition("import pathlib\n")[2]
    name = code.partition("'")[2].rpartition("'")[0]
    planted = f"import pathlib\n{code.replace(name, str(mark))}"
    subprocess.run([sys.executable, "-c", planted], check=True)
    assert mark.exists()


@pytest.mark.parametrize("hostile", HOSTILE_ARCHIVES, ids=lambda hostile: hostile.name)
def test_hostile_archive_gets_into_no_release(
    hostile: HostileArchive, good: GoodArchive, tmp_path: Path
) -> None:
    policy = hostile.make(good, tmp_path / ARCHIVE) or ANY_ORIGIN
    (tmp_path / "deployment.yaml").write_text(_deployment(policy))
    with pytest.raises(ReleaseError, match=hostile.code):
        resolve(tmp_path / "deployment.yaml", tmp_path)


def test_good_archive_gets_into_a_release(good: GoodArchive, tmp_path: Path) -> None:
    (tmp_path / "deployment.yaml").write_text(_deployment(ANY_ORIGIN))
    wanted = resolve(tmp_path / "deployment.yaml", good.path.parent)
    assert wanted.models["ranker"].versions["1.0"].sha256 == verify(good.path).sha256


def test_good_archive_with_signature_and_audit_passes_the_strictest_policy(
    good: GoodArchive, tmp_path: Path
) -> None:
    path = tmp_path / ARCHIVE
    path.write_bytes(good.path.read_bytes())
    sign(path, good.keys / "marloft.key")
    strict = TrustPolicy(
        signature="required", public_key=str(good.keys / "marloft.pub"), fairness="audited"
    )
    assert [check for check in verify(path, strict).checks if not check.ok] == []


def test_every_archive_of_the_repository_is_accepted(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path, torchscript=True)
    store = project / "model_store"
    for config in sorted((project / "archive_configs").glob("*.yaml")):
        report = verify(store / write_archive(config, store).file)
        assert [check for check in report.checks if not check.ok] == [], config


def test_every_documented_code_is_hit() -> None:
    page = (factories.REPOSITORY / "docs" / "archive.md").read_text()
    documented = set(re.findall(r"^\| (MRL\d{3}) \|", page, re.MULTILINE))
    in_replay = {code for hostile in HOSTILE_HANDLERS for code, _ in hostile.found}
    assert {hostile.code for hostile in HOSTILE_ARCHIVES} | in_replay == documented


def test_names_of_hostile_archives_are_their_own() -> None:
    names = [hostile.name for hostile in HOSTILE_ARCHIVES]
    assert len(set(names)) == len(names) >= 40


def _deployment(policy: TrustPolicy) -> str:
    # JSON is YAML too.
    return DEPLOYMENT % msgspec.json.encode(policy).decode()
