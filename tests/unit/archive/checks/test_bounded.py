"""A pattern that never ends, or a schema that fans out, ends the check and not the machine."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.hostile_archives.building import Members, failed_checks, rehash, write
from marloft.archive.checks import bounded
from marloft.archive.verify import verify

ENDLESS = "^(a+)+$"
VALUE = "a" * 40 + "b"


def with_response(members: Members, response: dict[str, Any], expected: Any) -> None:
    """Let the archive declare an answer, and its golden answers be `expected`."""
    manifest = msgspec.json.decode(members["archive.json"])
    members["archive.json"] = msgspec.json.encode(manifest | {"response": response})
    lines = [msgspec.json.decode(line) for line in members["golden.jsonl"].splitlines()]
    for line in lines:
        line["expected"] = {"prediction": expected}
    members["golden.jsonl"] = b"\n".join(map(msgspec.json.encode, lines))
    members.update(rehash(members))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """End a check after 3 s, which the start of Python and the imports are part of."""
    monkeypatch.setattr(bounded, "_WALL_S", 3.0)


@pytest.mark.parametrize(("value", "ok"), [("aaa", True), ("b", False)])
def test_pattern_is_applied(tmp_path: Path, members: Members, value: str, ok: bool) -> None:
    schema = {"type": "string", "pattern": ENDLESS}
    with_response(members, {"type": "object", "per": "request", "schema": schema}, value)
    failed = failed_checks(write(tmp_path / "a.mar", members))
    assert failed == ([] if ok else [("MRL009", "golden.jsonl")])


@pytest.mark.usefixtures("impatient")
def test_pattern_that_never_ends_is_ended(tmp_path: Path, members: Members) -> None:
    schema = {"type": "string", "pattern": ENDLESS}
    with_response(members, {"type": "object", "per": "request", "schema": schema}, VALUE)
    path = write(tmp_path / "a.mar", members)
    (failed,) = [check for check in verify(path).checks if not check.ok]
    assert failed.code == "MRL009"
    assert "take more than 10 s to apply" in str(failed)


@pytest.mark.usefixtures("impatient")
def test_schema_that_fans_out_is_ended(tmp_path: Path, members: Members) -> None:
    parts: dict[str, Any] = {
        f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**parts, "d40": False}}
    with_response(members, {"type": "object", "schema": schema}, [1])
    assert failed_checks(write(tmp_path / "a.mar", members)) == [("MRL008", "archive.json")]


@pytest.mark.usefixtures("impatient")
def test_pattern_of_a_row_that_never_ends_is_ended(tmp_path: Path, members: Members) -> None:
    schema = msgspec.json.decode(members["schema.json"])
    name = sorted(schema["items"]["properties"])[0]
    schema["items"]["properties"][name] = {"type": "string", "pattern": ENDLESS}
    lines = [msgspec.json.decode(line) for line in members["golden.jsonl"].splitlines()]
    for line in lines:
        for row in line["request"]["features"]:
            row[name] = VALUE
    members["schema.json"] = msgspec.json.encode(schema)
    members["golden.jsonl"] = b"\n".join(map(msgspec.json.encode, lines))
    members.update(rehash(members))
    assert failed_checks(write(tmp_path / "a.mar", members)) == [("MRL009", "archive.json")]
