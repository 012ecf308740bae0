"""Model card and audit in an archive: accepted when whole and about its artifact, else refused."""

import json
import zipfile
from pathlib import Path

import msgspec
import pytest

from harness import factories
from harness.documents import card_text, fairness_report
from marloft.archive.checks.documents import (
    check_card,
    check_fairness,
    document_checks,
    front_matter,
)
from marloft.archive.pack import write_archive
from marloft.archive.verify import verify
from marloft.errors import ArchiveError
from marloft.files import to_json

SHA = "ab" * 32
KEYS = "card: ../build/card/model_card.md\naudit: ../build/fairness/fairness.json\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = factories.write_project(tmp_path)
    config = folder / "archive_configs" / "ranker_v1.yaml"
    lines = [
        line for line in config.read_text().splitlines() if line[:6] not in ("card: ", "audit:")
    ]
    config.write_text("\n".join(lines) + "\n" + KEYS)
    return folder


def packed(project: Path) -> Path:
    store = project / "model_store"
    return store / write_archive(project / "archive_configs" / "ranker_v1.yaml", store).file


def test_archive_holds_card_and_audit_and_verifies(project: Path) -> None:
    archive = packed(project)
    with zipfile.ZipFile(archive) as content:
        assert {"model_card.md", "fairness.json"} <= set(content.namelist())
    found = {check.code: check for check in verify(archive).checks}
    assert found["MRL014"].message == "a model card with license"
    assert found["MRL015"].message == "audit of score ≥ 0.5 over gender"
    assert verify(archive).ok


def test_archive_without_documents_verifies(project: Path) -> None:
    config = project / "archive_configs" / "ranker_v1.yaml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if line not in KEYS.splitlines()))
    assert verify(packed(project)).ok


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("card/model_card.md", "does not name the artifact's sha256"),
        ("fairness/fairness.json", "fairness.json judges abababababab"),
    ],
)
def test_pack_refuses_documents_of_another_model(project: Path, name: str, message: str) -> None:
    other = card_text(SHA).encode() if name.endswith(".md") else to_json(fairness_report(SHA))
    (project / "build" / name).write_bytes(other)
    with pytest.raises(ArchiveError, match=message):
        packed(project)


def test_verify_names_a_document_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "documents.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model_card.md", card_text(SHA))
        archive.writestr("fairness.json", to_json(fairness_report(SHA)))
    with zipfile.ZipFile(path) as archive:
        assert all(check.ok for check in document_checks(archive, SHA))
        failed = [(c.code, c.culprit) for c in document_checks(archive, "cd" * 32) if not c.ok]
    assert failed == [("MRL014", "model_card.md"), ("MRL015", "fairness.json")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# A card\n", "has no YAML block"),
        ("---\nlicense: [\n---\n", "the metadata are no YAML"),
        ("---\n- a\n---\n", "no mapping"),
        (card_text(SHA) + "\n[More Information Needed]\n", "still says"),
    ],
)
def test_card_that_is_not_whole_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        check_card(text.encode(), SHA)


def test_card_that_is_no_text_is_refused() -> None:
    with pytest.raises(ArchiveError, match="is not UTF-8"):
        check_card(b"\xff\xfe", None)


def test_audit_with_an_unknown_key_is_refused() -> None:
    content = json.loads(to_json(fairness_report(SHA)))
    assert check_fairness(json.dumps(content).encode(), SHA)
    with pytest.raises(ArchiveError, match="unknown key 'verdicts'"):
        check_fairness(json.dumps(content | {"verdicts": 1}).encode(), SHA)


def test_audit_that_names_no_model_is_refused_beside_an_artifact() -> None:
    report = msgspec.structs.replace(fairness_report(SHA), model_sha256=None)
    assert check_fairness(to_json(report), None)
    with pytest.raises(ArchiveError, match="judges no named model"):
        check_fairness(to_json(report), SHA)


def test_front_matter_is_read() -> None:
    assert front_matter(card_text(SHA)) == {"license": "apache-2.0"}
