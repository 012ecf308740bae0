"""From a deployment file to what it asks for: pinned bytes, checked archives, fitting arms."""

import hashlib
import shutil
from pathlib import Path

import pytest

from marloft.archive.pack import write_archive
from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import RequestLimits, RolloutPlan
from marloft.contract.release import Allocation, Arm, ReleasedModel, ReleasedVersion
from marloft.deploy.release.resolve import check_bytes, holds, resolve
from marloft.errors import ConfigError, ReleaseError
from tests.unit.deploy.release.conftest import (
    LOG,
    PLAIN,
    SPLIT,
    STEPPED,
    WITH_SPLIT,
    WriteFile,
)

# What archive_configs/ranker_v1.yaml says.
OWN = WorkerSettings(workers=1, batch_size=16, max_batch_delay_ms=1, response_timeout_s=3)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def own_store(tmp_path: Path, store: Path) -> Path:
    """A copy of the store, for a test to spoil."""
    return Path(shutil.copytree(store, tmp_path / "store"))


def test_versions_are_pinned_by_the_bytes_of_their_archives(
    write_file: WriteFile, store: Path
) -> None:
    found = resolve(write_file(PLAIN), store)
    ranker = found.models["ranker"]
    assert (found.default_model, ranker.default) == ("ranker", "1.0")
    assert ranker.versions == {
        version: ReleasedVersion(
            sha256=sha256(store / f"ranker-{version}.mar"),
            settings=OWN,
            accepts=["application/json"],
        )
        for version in ("1.0", "1.1")
    }


def test_versions_are_ordered_by_number(write_file: WriteFile, store: Path) -> None:
    text = PLAIN.replace('"1.0": {}, "1.1": {}', '"1.1": {}, "1.0": {}')
    assert list(resolve(write_file(text), store).models["ranker"].versions) == ["1.0", "1.1"]


def test_settings_of_the_file_come_before_the_archives(write_file: WriteFile, store: Path) -> None:
    text = PLAIN.replace('"1.1": {}', '"1.1": {workers: 2, batch_size: 4}')
    versions = resolve(write_file(text), store).models["ranker"].versions
    assert versions["1.0"].settings == OWN
    assert versions["1.1"].settings == WorkerSettings(
        workers=2, batch_size=4, max_batch_delay_ms=1, response_timeout_s=3
    )


def test_aliases_guardrails_and_log_policy_are_what_the_file_says(
    write_file: WriteFile, store: Path
) -> None:
    more = (
        'default: "1.0", aliases: {champion: "1.1"}, guardrails: {p99_ms: 100}, '
        "limits: {requests_per_s: 500}"
    )
    found = resolve(write_file(PLAIN.replace('default: "1.0"', more) + LOG), store)
    assert found.models["ranker"].aliases == {"champion": "1.1"}
    assert found.models["ranker"].guardrails.p99_ms == 100
    assert found.models["ranker"].limits == RequestLimits(requests_per_s=500)
    assert found.log.fsync == "batch"


def test_steps_lead_to_another_default_unless_it_is_to_take_over_at_once(
    write_file: WriteFile, store: Path
) -> None:
    stepped = write_file(STEPPED)
    assert resolve(stepped, store).plans == {"ranker": RolloutPlan(steps=[5, 50])}
    assert resolve(stepped, store, no_rollout=True).plans == {}
    assert resolve(write_file(PLAIN), store).plans == {}


def test_split_is_the_experiments(write_file: WriteFile, store: Path) -> None:
    found = resolve(write_file(weights=(90, 10)), store).models["ranker"].allocation
    assert found == Allocation(
        name="feed_ab",
        salt="feed_ab",
        unit="user_id",
        arms=[
            Arm(name="control", version="1.0", weight=90),
            Arm(name="treatment", version="1.1", weight=10),
        ],
    )


@pytest.mark.parametrize(
    ("control", "treatment", "said"),
    [
        (
            "1.0",
            "7.3",
            "{0}/experiment.yaml: arm 'treatment' serves ranker 7.3, which {0}/deployment.yaml "
            "does not list. Allowed: 1.0, 1.1.",
        ),
        (
            "1.1",
            "1.0",
            "{0}/experiment.yaml: the first arm is control and must serve the default version of "
            "ranker, 1.0; it serves 1.1.",
        ),
    ],
)
def test_arms_that_do_not_fit_the_deployment_are_refused(
    write_file: WriteFile, store: Path, control: str, treatment: str, said: str
) -> None:
    path = write_file(WITH_SPLIT)
    text = SPLIT.format(control=control, treatment=treatment, weights=(1, 1))
    path.with_name("experiment.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve(path, store)
    assert str(caught.value) == said.format(path.parent)


def test_missing_archive_is_named_with_those_that_are_there(
    write_file: WriteFile, store: Path, tmp_path: Path
) -> None:
    path = write_file(PLAIN.replace('"1.1"', '"3.0"'))
    with pytest.raises(ReleaseError) as caught:
        resolve(path, store)
    assert str(caught.value) == (
        f"{store}/ranker-3.0.mar does not exist; ranker archives in {store}: ranker-1.0.mar, "
        "ranker-1.1.mar. Run `marloft pack` first."
    )
    with pytest.raises(ReleaseError, match=r"ranker-1\.0\.mar does not exist; .*: none\."):
        resolve(path, tmp_path / "empty")


def test_archive_that_fails_a_check_is_refused_with_its_code(
    write_file: WriteFile, own_store: Path
) -> None:
    (own_store / "ranker-1.1.mar").write_bytes(b"no zip")
    with pytest.raises(ReleaseError) as caught:
        resolve(write_file(PLAIN), own_store)
    path = own_store / "ranker-1.1.mar"
    assert str(caught.value).startswith(f"{path} is refused (MRL001): ")
    assert str(caught.value).endswith(f" `marloft verify {path}` shows all.")


def test_archives_have_to_prove_what_the_models_policy_wants(
    write_file: WriteFile, store: Path
) -> None:
    signed = PLAIN.replace('default: "1.0"', 'default: "1.0", policy: {signature: required}')
    with pytest.raises(ReleaseError, match=r"ranker-1\.0\.mar is refused \(MRL016\): required"):
        resolve(write_file(signed), store)
    audited = PLAIN.replace('default: "1.0"', 'default: "1.0", policy: {fairness: audited}')
    assert resolve(write_file(audited), store) == resolve(write_file(PLAIN), store)


def test_public_key_of_a_policy_lies_beside_the_file(write_file: WriteFile, store: Path) -> None:
    policy = "policy: {signature: required, public_key: keys/ours.pub}"
    path = write_file(PLAIN.replace('default: "1.0"', f'default: "1.0", {policy}'))
    with pytest.raises(ConfigError, match=f"^{path.parent}/keys/ours.pub is no file"):
        resolve(path, store)


def test_workflow_has_to_be_in_the_store(write_file: WriteFile, own_store: Path) -> None:
    path = write_file(PLAIN + "workflows: [feed_ab]\n")
    with pytest.raises(ReleaseError, match=r"feed_ab\.war does not exist; run `marloft pack workf"):
        resolve(path, own_store)
    (own_store / "feed_ab.war").touch()
    assert resolve(path, own_store).workflows == ["feed_ab"]


def test_store_holds_an_archive_when_its_bytes_are_the_pinned_ones(tmp_path: Path) -> None:
    path = tmp_path / "ranker-1.0.mar"
    # From the FIPS 180-2 test vectors.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    pinned = ReleasedVersion(sha256=abc, settings=OWN)
    assert not holds(path, pinned)
    path.write_bytes(b"abc")
    assert holds(path, pinned)
    path.write_bytes(b"abd")
    assert not holds(path, pinned)


def test_every_pinned_archive_has_to_be_there_bit_for_bit(
    write_file: WriteFile, own_store: Path
) -> None:
    models: dict[str, ReleasedModel] = resolve(write_file(PLAIN), own_store).models
    check_bytes(own_store, models)
    path = own_store / "ranker-1.1.mar"
    pinned = sha256(path)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ReleaseError) as caught:
        check_bytes(own_store, models)
    assert str(caught.value) == (
        f"{path} is missing or has other bytes than that release was made of "
        f"(sha256 {pinned[:12]}…); put that file back first."
    )
    path.unlink()
    with pytest.raises(ReleaseError, match=r"ranker-1\.1\.mar is missing or has other bytes"):
        check_bytes(own_store, models)


CODE_ONLY = """\
name: lens
version: "{version}"
handler: lens.py
schema: {{row: {{n: {{type: integer}}}}, parameters: {{{parameters}}}}}
"""
LENS = """\
default_model: lens
models: {lens: {versions: {"1.0": {}, "1.1": {}}, default: "1.0"}}
"""


def _pack_lens(folder: Path, version: str, names: list[str]) -> None:
    (folder / "lens.py").write_text(
        "from marloft.serving import Handler\n\n\nclass Lens(Handler):\n    pass\n"
    )
    declared = ", ".join(f"{name}: {{type: string}}" for name in names)
    config = folder / f"lens_{version}.yaml"
    config.write_text(CODE_ONLY.format(version=version, parameters=declared))
    write_archive(config, folder / "own")


def test_names_of_parameters_are_pinned_along(write_file: WriteFile, tmp_path: Path) -> None:
    _pack_lens(tmp_path, "1.0", ["top_k", "language"])
    _pack_lens(tmp_path, "1.1", [])
    versions = resolve(write_file(LENS), tmp_path / "own").models["lens"].versions
    assert {key: each.parameters for key, each in versions.items()} == {
        "1.0": ["language", "top_k"],
        "1.1": [],
    }


def test_versions_that_declare_too_many_parameters_together_are_refused(
    write_file: WriteFile, tmp_path: Path
) -> None:
    _pack_lens(tmp_path, "1.0", ["a" * n for n in range(40, 50)])
    _pack_lens(tmp_path, "1.1", ["b" * n for n in range(40, 50)])
    with pytest.raises(ReleaseError, match=r"lens: its versions declare too many .* at most 500"):
        resolve(write_file(LENS), tmp_path / "own")
