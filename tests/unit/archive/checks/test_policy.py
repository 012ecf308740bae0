"""What a policy asks of an archive's origin."""

from pathlib import Path

import msgspec
import pytest

from harness import factories
from marloft.archive.checks.policy import check_policy
from marloft.archive.pack import write_archive
from marloft.archive.sign import new_keys, sign, signature_path
from marloft.contract.policy import TrustPolicy
from marloft.errors import ConfigError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, and the ranker with its documents."""
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    config = project / "archive_configs" / "ranker_v1.yaml"
    write_archive(config, project)
    new_keys(project)
    return project


def _failing(path: Path, policy: TrustPolicy) -> list[tuple[str, str]]:
    return [(check.code, check.culprit) for check in check_policy(path, policy) if not check.ok]


def _archive(store: Path, folder: Path) -> Path:
    path = folder / "ranker-1.0.mar"
    path.write_bytes((store / path.name).read_bytes())
    return path


def test_no_policy_asks_for_nothing(store: Path, tmp_path: Path) -> None:
    assert _failing(_archive(store, tmp_path), TrustPolicy()) == []


def test_optional_signature_may_be_missing_but_not_wrong(store: Path, tmp_path: Path) -> None:
    path = _archive(store, tmp_path)
    policy = TrustPolicy(public_key=str(store / "marloft.pub"))
    assert _failing(path, policy) == []
    signature_path(path).write_text("{}")
    assert _failing(path, policy) == [("MRL016", "ranker-1.0.mar.sig")]
    sign(path, store / "marloft.key")
    assert _failing(path, policy) == []


def test_required_signature_may_not_be_missing(store: Path, tmp_path: Path) -> None:
    path = _archive(store, tmp_path)
    policy = TrustPolicy(signature="required", public_key=str(store / "marloft.pub"))
    assert _failing(path, policy) == [("MRL016", "ranker-1.0.mar.sig")]
    sign(path, store / "marloft.key")
    assert _failing(path, policy) == []


def test_required_signature_needs_a_key_to_check_it_with(store: Path, tmp_path: Path) -> None:
    path = _archive(store, tmp_path)
    sign(path, store / "marloft.key")
    policy = TrustPolicy(signature="required")
    assert _failing(path, policy) == [("MRL016", "ranker-1.0.mar.sig")]


def test_missing_public_key_is_the_users_mistake(store: Path, tmp_path: Path) -> None:
    policy = TrustPolicy(signature="required", public_key=str(tmp_path / "none.pub"))
    with pytest.raises(ConfigError, match="is no file"):
        check_policy(_archive(store, tmp_path), policy)


def test_audited_wants_an_audit(store: Path, tmp_path: Path) -> None:
    audited = TrustPolicy(fairness="audited")
    assert _failing(_archive(store, tmp_path), audited) == []
    plain = store / write_archive(store / "archive_configs" / "outcomes.yaml", store).file
    assert _failing(plain, audited) == [("MRL017", "fairness.json")]


def test_policy_of_another_word_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="signature"):
        msgspec.convert({"signature": "maybe"}, TrustPolicy)
