"""Whatever is done to an archive or its signature, `verify` answers with a report."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import factories
from harness.hostile_archives.archives import GoodArchive, good_archive
from harness.hostile_archives.building import ARCHIVE, rehash, write
from marloft.archive.pack import write_archive
from marloft.archive.sign import sign, signature_path
from marloft.archive.verify import verify
from marloft.files import sidecar_path

BOUNDED = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
WHERE = st.floats(0, 1, exclude_max=True)
FLIP = st.tuples(st.just("flip"), WHERE, st.integers(0, 7))
CUT = st.tuples(st.just("cut"), WHERE, st.integers(1, 5_000))
SPLICE = st.tuples(st.just("splice"), WHERE, st.binary(min_size=1, max_size=64))
COPY = st.tuples(st.just("copy"), WHERE, WHERE)
# A directory is a tenth of the file and half of what can go wrong.
TAIL = st.tuples(st.just("tail"), st.integers(1, 900), st.integers(0, 255))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
DOCUMENTS = (
    "archive.json",
    "schema.json",
    "MAR-INF/MANIFEST.json",
    "fairness.json",
    "golden.jsonl",
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> GoodArchive:
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    store = project / "model_store"
    path = store / write_archive(project / "archive_configs" / "ranker_v1.yaml", store).file
    return good_archive(path, project / "keys")


@BOUNDED
@given(changes=st.lists(FLIP | CUT | SPLICE | COPY | TAIL, min_size=1, max_size=4))
def test_changed_bytes_are_refused_with_a_report(
    changes: list[tuple[str, Any, Any]], good: GoodArchive, tmp_path: Path
) -> None:
    unchanged = good.path.read_bytes()
    data = unchanged
    for change in changes:
        data = applied(data, *change)
    path = tmp_path / ARCHIVE
    path.write_bytes(data)
    # The sidecar names the good bytes, so that a change of what is no content is noticed too.
    sidecar_path(path).write_bytes(sidecar_path(good.path).read_bytes())
    assert verify(path).ok == (data == unchanged)


@settings(BOUNDED, max_examples=100)
@given(member=st.sampled_from(DOCUMENTS), place=WHERE, value=JSON)
def test_any_value_in_a_document_is_answered_with_a_report(
    member: str, place: float, value: Any, good: GoodArchive, tmp_path: Path
) -> None:
    document, *rest = [json.loads(line) for line in _documents(good.members[member])]
    holders = list(_holders(document))
    holder, key = holders[int(place * len(holders))]
    holder[key] = value
    text = "\n".join(json.dumps(each) for each in (document, *rest)).encode()
    changed = good.members | {member: text}
    verify(write(tmp_path / ARCHIVE, changed if member == "archive.json" else rehash(changed)))


@BOUNDED
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_card_is_answered_with_a_report(data: bytes, good: GoodArchive, tmp_path: Path) -> None:
    card = b"---\n" + data + b"\n---\n"
    verify(write(tmp_path / ARCHIVE, rehash(good.members | {"model_card.md": card})))


@settings(BOUNDED, max_examples=60)
@given(place=WHERE, value=JSON)
def test_any_value_in_a_signature_is_refused_or_means_nothing(
    place: float, value: Any, good: GoodArchive, tmp_path: Path
) -> None:
    path = tmp_path / ARCHIVE
    path.write_bytes(good.path.read_bytes())
    sign(path, good.keys / "marloft.key")
    bundle = json.loads(signature_path(path).read_bytes())
    envelope = json.dumps(bundle["dsseEnvelope"])
    holders = list(_holders(bundle))
    holder, key = holders[int(place * len(holders))]
    holder[key] = value
    signature_path(path).write_text(json.dumps(bundle))
    report = verify(path, good.signed)
    assert not report.ok or json.dumps(bundle["dsseEnvelope"]["payload"]) in envelope


def test_the_changes_reach_more_than_the_first_check(good: GoodArchive, tmp_path: Path) -> None:
    data, found = good.path.read_bytes(), set()
    for step in range(60):
        path = tmp_path / ARCHIVE
        path.write_bytes(applied(data, "flip", step / 60, step % 8))
        found |= {check.code for check in verify(path).checks if not check.ok}
    assert {"MRL001", "MRL006"} <= found


def applied(data: bytes, how: str, where: Any, what: Any) -> bytes:
    """Return the bytes with one change; `where` is a share of the length, or bytes from the end."""
    if how == "tail":
        at = max(0, len(data) - where)
        return data[:at] + bytes([what]) + data[at + 1 :]
    at = int(where * len(data))
    if how == "flip":
        return data[:at] + bytes(byte ^ (1 << what) for byte in data[at : at + 1]) + data[at + 1 :]
    if how == "cut":
        return data[:at] + data[at + what :]
    if how == "splice":
        return b"".join((data[:at], what, data[at:]))
    return data[:at] + data[int(what * len(data)) :]


def _documents(data: bytes) -> list[bytes]:
    lines = data.splitlines()
    return lines if lines and lines[0].endswith(b"}") and len(lines[0]) > 2 else [data]


def _holders(document: Any) -> "list[tuple[Any, Any]]":
    """Return every place in a document that holds a value: its container and the key."""
    found: list[tuple[Any, Any]] = []
    keys: list[Any] = []
    if isinstance(document, dict):
        keys = list(document)
    elif isinstance(document, list):
        keys = list(range(len(document)))
    for key in keys:
        found += [(document, key), *_holders(document[key])]
    return found
