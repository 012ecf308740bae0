"""`deployment.yaml` is checked before anything is done with it."""

from pathlib import Path

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.deploy.release.deployment import SettingsOverride, read_deployment
from marloft.errors import ConfigError

GOOD = 'default_model: ranker\nmodels: {ranker: {versions: {"1.0": {}}, default: "1.0"}}\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "deployment.yaml"
    path.write_text(text)
    return path


def test_deployment_reads(tmp_path: Path) -> None:
    deployment = read_deployment(written(tmp_path, GOOD))
    assert deployment.models["ranker"].versions == {"1.0": SettingsOverride()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD.replace("versions", "version"),
            "unknown key 'version' at models.ranker. Did you mean",
        ),
        (GOOD.replace("{}", "{worker: 2}"), "Did you mean 'workers'?"),
        (GOOD.replace("{}", "{workers: 0}"), "workers is 0, must be an integer >= 1"),
        (GOOD.replace("default_model: ranker", "default_model: rankr"), "Did you mean 'ranker'?"),
        (GOOD.replace('default: "1.0"', 'default: "1.1"'), "is not among its versions"),
        (
            GOOD.replace('"1.0": {}', '"v1.0": {}'),
            "key v1.0 at models.ranker.versions must be text that matches",
        ),
        (
            GOOD.replace('default: "1.0"', 'default: "1.0", guardrails: {p99_ms: 80}'),
            "p99_ms is 80, must be a bound of the gateway's latency histogram; the nearest are "
            "75 and 100.",
        ),
        (
            GOOD.replace('default: "1.0"', 'default: "1.0", rollout: {steps: [25, 5]}'),
            "must ascend, for example [1, 5, 25, 50]",
        ),
        (
            GOOD.replace('default: "1.0"', 'default: "1.0", aliases: {champion: "2.0"}'),
            "aliases.champion '2.0' is not among its versions",
        ),
        ("models: [", "line 2, column 1"),
    ],
)
def test_deployment_refuses_a_fault_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"deployment\.yaml") as caught:
        read_deployment(written(tmp_path, text))
    assert said in str(caught.value)


def test_deployment_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_deployment(tmp_path / "deployment.yaml")


@pytest.mark.parametrize("limit", ["0.5", "7.5", "100", "10000"])
def test_deployment_takes_a_bound_of_the_histogram_as_p99(tmp_path: Path, limit: str) -> None:
    guarded = f'default: "1.0", guardrails: {{p99_ms: {limit}}}'
    deployment = read_deployment(written(tmp_path, GOOD.replace('default: "1.0"', guarded)))
    assert deployment.models["ranker"].guardrails.p99_ms == float(limit)


def test_override_takes_the_rest_from_the_archive() -> None:
    defaults = WorkerSettings(workers=1, batch_size=16, response_timeout_s=7)
    settings = SettingsOverride(workers=3).over(defaults)
    assert settings == WorkerSettings(workers=3, batch_size=16, response_timeout_s=7)
