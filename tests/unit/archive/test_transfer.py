"""A pulled archive is verified before it has a name; no version ever gets other bytes."""

import sys
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import factories
from harness.hostile_archives.building import read, rehash, write
from marloft.archive.pack import write_archive
from marloft.archive.sign import new_keys, sign, signature_path
from marloft.archive.transfer import pull, push
from marloft.cli import app
from marloft.contract.policy import TrustPolicy
from marloft.errors import ArchiveError, ConfigError

ARCHIVE = "ranker-1.0.mar"
ALL = [f"{ARCHIVE}.json", f"{ARCHIVE}.sig", ARCHIVE]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed archive with its sidecar; the keys lie beside it."""
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    store = project / "model_store"
    path = store / write_archive(project / "archive_configs" / "ranker_v1.yaml", store).file
    new_keys(project / "keys")
    sign(path, project / "keys" / "marloft.key")
    return path


@pytest.fixture
def own(packed: Path, tmp_path: Path) -> Path:
    """The same three files, to change."""
    store = tmp_path / "own"
    store.mkdir()
    for name in ALL:
        (store / name).write_bytes((packed.parent / name).read_bytes())
    return store / ARCHIVE


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path / 'shared' / 'deep'}"
    return f"memory://{uuid.uuid4().hex}"


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_what_is_pushed_is_pulled_with_sidecar_and_signature(
    packed: Path, url: str, tmp_path: Path
) -> None:
    assert push(packed, url).copied == ALL
    store = tmp_path / "store"
    found = pull(store / ARCHIVE, url)
    assert found.copied == ALL
    assert _files(store) == sorted(ALL)
    for name in ALL:
        assert (store / name).read_bytes() == (packed.parent / name).read_bytes()


def test_what_both_sides_have_is_not_copied_again(packed: Path, url: str) -> None:
    push(packed, url)
    assert push(packed, url).copied == []
    assert pull(packed, url).copied == []


def test_other_bytes_of_a_version_are_refused_on_both_sides(
    packed: Path, own: Path, url: str
) -> None:
    push(packed, url)
    write(own, rehash(read(own) | {"note.txt": b"other"}))
    own.with_name(f"{ARCHIVE}.json").unlink()
    signature_path(own).unlink()
    before = own.read_bytes()
    with pytest.raises(ArchiveError, match="holds other bytes"):
        push(own, url)
    with pytest.raises(ArchiveError, match="holds other bytes"):
        pull(own, url)
    assert (own.read_bytes(), _files(own.parent)) == (before, [ARCHIVE])
    assert pull(packed, url).copied == []


def test_archive_that_fails_verification_gets_no_name(own: Path, tmp_path: Path) -> None:
    own.write_bytes(own.read_bytes()[:-1])
    with pytest.raises(ArchiveError, match=r"is refused: MRL001"):
        pull(tmp_path / "store" / ARCHIVE, f"file://{own.parent}")
    assert _files(tmp_path / "store") == []
    with pytest.raises(ArchiveError, match="is not pushed: MRL001"):
        push(own, f"file://{tmp_path}/shared")
    assert _files(tmp_path / "shared") == []


def test_policy_is_asked_before_it_gets_a_name(packed: Path, own: Path, tmp_path: Path) -> None:
    key = packed.parents[1] / "keys" / "marloft.pub"
    policy = TrustPolicy(signature="required", public_key=str(key))
    signed, unsigned = tmp_path / "signed", tmp_path / "unsigned"
    assert pull(signed / ARCHIVE, f"file://{own.parent}", policy).copied == ALL
    signature_path(own).unlink()
    with pytest.raises(ArchiveError, match="MRL016"):
        pull(unsigned / ARCHIVE, f"file://{own.parent}", policy)
    assert _files(unsigned) == []


def test_archive_under_another_name_is_refused(own: Path, tmp_path: Path) -> None:
    own.rename(own.with_name("ranker-2.0.mar"))
    with pytest.raises(ArchiveError, match=r"says that it is ranker 1\.0"):
        pull(tmp_path / "store" / "ranker-2.0.mar", f"file://{own.parent}")
    assert _files(tmp_path / "store") == []


def test_new_signature_is_pushed_and_not_pulled_over_another(
    packed: Path, own: Path, url: str, tmp_path: Path
) -> None:
    push(packed, url)
    new_keys(tmp_path / "other")
    sign(own, tmp_path / "other" / "marloft.key")
    assert push(own, url).copied == [f"{ARCHIVE}.sig"]
    with pytest.raises(ArchiveError, match=r"mar\.sig holds other bytes"):
        pull(packed, url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///proc/nowhere", r"^file:///proc/nowhere cannot be used: .*; correct the URL"),
        ("nosuch://bucket", "^nosuch://bucket cannot be used: Protocol not known: nosuch"),
        ("s3://bucket", r"^s3://bucket: a package is missing .*pip install"),
    ],
)
def test_folder_that_cannot_be_used_is_told_in_a_line(
    packed: Path, monkeypatch: pytest.MonkeyPatch, url: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=message) as raised:
        push(packed, url)
    assert "\n" not in str(raised.value)


def test_missing_extra_is_named(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r"pip install 'marloft\[store\]'"):
        push(packed, "memory://x")


def test_archive_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"holds no ranker-1\.0\.mar; push it there"):
        pull(tmp_path / ARCHIVE, f"file://{tmp_path}/empty")


def test_verbs_take_versions_by_name(packed: Path, url: str, tmp_path: Path) -> None:
    def run(*words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert ARCHIVE in run("push", "ranker@1.0", url, "--store", packed.parent)
    assert ARCHIVE in run("pull", "ranker@1.0", url, "--store", tmp_path / "store")
    assert "both sides have it" in run("pull", "ranker@1.0", url, "--store", tmp_path / "store")
