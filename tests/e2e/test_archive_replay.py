"""Replay: TorchServe's own loader answers the golden requests, in a clean process.

What a replay refuses is in tests/hostile_archives/test_hostile_handlers.py.
"""

import zipfile
from pathlib import Path

import pytest

from harness import factories
from marloft.archive.pack import write_archive
from marloft.archive.replay import replay
from marloft.archive.verify import VerifyReport


def _replayed(tmp_path: Path, old: str, new: str) -> VerifyReport:
    """Pack the tiny ranker with one text replaced in its handler; replay it."""
    project = factories.write_project(tmp_path)
    path = project / "handlers" / "ranker.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    store = project / "model_store"
    return replay(store / write_archive(project / "archive_configs" / "ranker_v1.yaml", store).file)


def _failing(report: VerifyReport) -> list[tuple[str, str]]:
    return [(check.code, check.culprit) for check in report.checks if not check.ok]


def test_archive_of_code_alone_is_only_loaded(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    config = project / "archive_configs" / "outcomes.yaml"
    report = replay(tmp_path / write_archive(config, tmp_path).file)
    assert report.ok
    assert [check.code for check in report.checks][-1] == "MRL020"


def test_archive_of_code_alone_that_does_not_load_is_refused(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    handler = project / "handlers" / "outcomes.py"
    handler.write_text(handler.read_text().replace("import OutcomeReceiver", "import Gone"))
    config = project / "archive_configs" / "outcomes.yaml"
    report = replay(tmp_path / write_archive(config, tmp_path).file)
    assert _failing(report) == [("MRL020", "outcomes.py")]
    (failed,) = (check for check in report.checks if not check.ok)
    assert failed.message.startswith("ImportError: cannot import name 'Gone' from ")
    assert failed.message.endswith(" (outcomes.py:3 in <module>)")


def test_model_without_golden_answers_is_refused(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    config = project / "archive_configs" / "ranker_v1.yaml"
    text = config.read_text()
    config.write_text(text.replace("golden: ../build/export/golden.jsonl\n", ""))
    report = replay(tmp_path / write_archive(config, tmp_path).file)
    assert _failing(report) == [("MRL020", "golden.jsonl")]


def test_replay_gives_the_handler_none_of_the_callers_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "callers"))
    check = "import os; assert 'SECRET' not in os.environ; super().load(archive)"
    assert _replayed(tmp_path, "super().load(archive)", check).ok
    assert not (tmp_path / "callers").exists()


def test_archive_that_fails_verification_is_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    project = factories.write_project(tmp_path)
    handler = project / "handlers" / "ranker.py"
    text = handler.read_text()
    handler.write_text(f"{text}\nimport pathlib\npathlib.Path({str(proof)!r}).touch()\n")
    good = tmp_path / write_archive(project / "archive_configs" / "ranker_v1.yaml", tmp_path).file
    bad = tmp_path / "bad.mar"
    bad.write_bytes(good.read_bytes())
    with zipfile.ZipFile(bad, "a") as archive:
        archive.writestr("extra.txt", b"")
    assert _failing(replay(bad)) == [("MRL007", "extra.txt")]
    assert not proof.exists()
    ran = replay(good)
    if ran.isolation is not None and ran.isolation.mounts:
        assert "Read-only file system" in ran.checks[-1].message
    else:
        assert proof.exists()
