"""The documents in an archive, `model_card.md` and `fairness.json`: what makes them acceptable."""

import re
import zipfile
from collections.abc import Callable
from typing import Any

import msgspec

from marloft.archive.checks.layout import UNREADABLE
from marloft.contract.audit import FAIRNESS_JSON, FairnessReport
from marloft.contract.check import Check
from marloft.errors import ArchiveError, ConfigError
from marloft.files import parse_json

MODEL_CARD = "model_card.md"
PLACEHOLDER = "[More Information Needed]"
# The form that huggingface_hub reads: a YAML block between two lines of three dashes. Its own one
# pattern takes cubic time on a card of empty lines; two, each searched once, take linear time.
_BEGIN = re.compile(r"\s*---[\r\n]")
_END = re.compile(r"[\r\n]---(?:[\r\n]|\Z)")


def document_checks(archive: zipfile.ZipFile, artifact_sha256: str | None) -> list[Check]:
    """Check the documents that an archive holds; one that it does not hold passes.

    `artifact_sha256` is the packed artifact's hash, None for an archive of code only.
    """
    return [
        _check_document(archive, artifact_sha256, code, member, check)
        for code, member, check in (
            ("MRL014", MODEL_CARD, check_card),
            ("MRL015", FAIRNESS_JSON, check_fairness),
        )
    ]


def check_card(data: bytes, artifact_sha256: str | None) -> str:
    """Return in a few words what the card is, after checking it.

    Args:
        data: the card's bytes.
        artifact_sha256: the packed artifact's hash, which the card has to name.

    Raises:
        ArchiveError: the card has no front matter, leaves something open, or is of another model.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ArchiveError(f"{MODEL_CARD} is not UTF-8 ({error.reason}).") from None
    metadata = front_matter(text)
    if PLACEHOLDER in text:
        raise ArchiveError(f"{MODEL_CARD} still says {PLACEHOLDER}; fill it in.")
    if artifact_sha256 is not None and artifact_sha256 not in text:
        raise ArchiveError(
            f"{MODEL_CARD} does not name the artifact's sha256 {artifact_sha256[:12]}…; it is "
            "another model's: make it again with `marloft card`."
        )
    return f"a model card with {', '.join(sorted(map(str, metadata)))}"


def front_matter(text: str) -> dict[str, Any]:
    """Return a card's metadata; raises ArchiveError if it has none or it is no YAML mapping."""
    begin = _BEGIN.match(text)
    end = begin and _END.search(text, begin.end() - 1)
    if begin is None or end is None:
        raise ArchiveError(f"{MODEL_CARD} has no YAML block between two lines of three dashes.")
    try:
        metadata = msgspec.yaml.decode(text[begin.end() : end.start()])
    # Besides what msgspec says of it, PyYAML lets a date of no calendar and deep nesting through.
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ArchiveError(f"{MODEL_CARD}: the metadata are no YAML: {reason}") from None
    if not isinstance(metadata, dict) or not metadata:
        raise ArchiveError(f"{MODEL_CARD}: the metadata are no mapping of names to values.")
    return metadata


def check_fairness(data: bytes, artifact_sha256: str | None) -> str:
    """Return in a few words what the audit says, after checking it.

    Raises:
        ArchiveError: it is no audit, or not one of the packed artifact.
    """
    try:
        report = parse_json(data, FairnessReport, FAIRNESS_JSON)
    except ConfigError as error:
        raise ArchiveError(str(error)) from None
    if artifact_sha256 is not None and report.model_sha256 != artifact_sha256:
        judged = "no named model" if report.model_sha256 is None else report.model_sha256[:12] + "…"
        raise ArchiveError(
            f"{FAIRNESS_JSON} judges {judged}, not the artifact {artifact_sha256[:12]}…; score "
            "and audit this artifact (docs/fairness.md)."
        )
    return f"audit of {report.decision} over {', '.join(f.feature for f in report.features)}"


def _check_document(
    archive: zipfile.ZipFile,
    artifact_sha256: str | None,
    code: str,
    member: str,
    check: Callable[[bytes, str | None], str],
) -> Check:
    if member not in archive.namelist():
        return Check.passed(code, f"no {member} to check")
    try:
        found = check(archive.read(member), artifact_sha256)
    except (ArchiveError, *UNREADABLE) as error:
        return Check.failed(code, member, str(error))
    return Check.passed(code, found)
