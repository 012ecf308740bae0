"""`marloft pack` and `marloft verify`: what is refused, and what a replay was kept from."""

import json
from pathlib import Path

from harness import factories
from marloft.archive.sandbox.confinement import Isolation
from marloft.cli.archive import describe_isolation
from tests.unit.cli.running import Marloft, invoke


def test_pack_prints_each_archives_hash(tmp_path: Path) -> None:
    config = factories.write_project(tmp_path) / "archive_configs" / "ranker_v1.yaml"
    code, output = invoke("pack", "--no-check", config, "--out", tmp_path / "store", "--json")
    assert code == 0
    assert json.loads(output)["file"] == "ranker-1.0.mar"
    code, line = invoke("pack", "--no-check", config, "--out", tmp_path / "store")
    assert code == 0
    assert line.endswith(f"sha256 {json.loads(output)['sha256']}\n")


TWELVE_FIELDS = """\
name: titanic
version: "1.0"
handler: handler.py
schema:
  max_rows: 100
  row:
    pclass: {type: integr, minimum: 1, maximum: 3}
    sex: {type: string, enum: [female, male, 3]}
    age: {type: [number, null], minimum: 100, maximum: 0}
    sibsp: {type: integer, minimum: 0.5}
    parch: {type: integer, minimum: 0}
    ticket: {type: string, pattern: "["}
    fare: {type: number, minimun: 0}
    cabins: {type: array, minLength: 1, items: {type: string}}
    embarked: {type: string, enum: [S, C, Q], default: X}
    home.dest: {type: string}
    boat: {type: array}
    name: {minLength: 1}
"""


def test_first_wrong_schema_shows_all_its_errors_at_once(tmp_path: Path, marloft: Marloft) -> None:
    config = tmp_path / "titanic.yaml"
    config.write_text(TWELVE_FIELDS)
    first, *faults, last = marloft("pack", str(config), code=2).splitlines()
    assert first == f"marloft: {config}: 11 errors:"
    assert [fault.split()[0].rstrip(":") for fault in faults if "unknown key" not in fault] == [
        "schema.row.pclass.type",
        "schema.row.sex.enum",
        "schema.row.age",
        "schema.row.sibsp.minimum",
        "schema.row.ticket.pattern",
        "schema.row.cabins.minLength",
        "schema.row.embarked.default",
        'schema.row."home.dest"',
        "schema.row.boat",
        "schema.row.name",
    ]
    assert "unknown key 'minimun' at schema.row.fare. Did you mean 'minimum'?" in faults[5]
    assert "write `minItems: 1`" in faults[6]
    assert "write `home_dest: {type: string, alias: home.dest}`" in faults[8]
    assert last == "docs/schema.md has every word of a schema."


def test_one_fault_is_one_line(tmp_path: Path, marloft: Marloft) -> None:
    config = tmp_path / "titanic.yaml"
    config.write_text("name: t\nversion: '1.0'\nhandler: h.py\nsettings: {workers: 0}\n")
    said = marloft("pack", str(config), code=2)
    assert said == f"marloft: {config}: settings.workers is 0, must be an integer >= 1.\n"


def test_all_missing_files_are_named_at_once(tmp_path: Path, marloft: Marloft) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("name: t\nversion: '1.0'\nhandler: h.py\ncard: /card.md\nfiles: {a: b}\n")
    first, *faults = marloft("pack", str(config), code=2).splitlines()
    assert first.endswith("3 errors:")
    assert [fault.split()[0] for fault in faults] == ["handler:", "card:", "files.a:"]


def codes(output: str) -> list[str]:
    return [each["code"] for each in json.loads(output)["report"]["checks"] if not each["ok"]]


def test_unsigned_archive_is_refused_where_a_signature_is_required(archive: Path) -> None:
    assert invoke("verify", archive)[0] == 0
    code, output = invoke("verify", archive, "--require-signature", "--json")
    assert (code, codes(output)) == (2, ["MRL016"])


def test_replay_runs_nothing_without_signature_or_trust(archive: Path) -> None:
    code, output = invoke("verify", archive, "--replay", "--json")
    assert (code, codes(output)) == (2, ["MRL016"])
    assert json.loads(output)["report"]["isolation"] is None


def test_what_did_not_hold_is_said_aloud() -> None:
    bare = Isolation(
        environment=True,
        limits=True,
        user=False,
        network=False,
        mounts=False,
        processes=False,
        why="unshare: Operation not permitted",
    )
    assert "No sandbox" in describe_isolation(bare)
    assert "Operation not permitted" in describe_isolation(bare)
