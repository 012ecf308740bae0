"""A version whose answers have another form than the default's is warned of before it serves."""

from pathlib import Path

import pytest

from harness import factories
from marloft.archive.pack import write_archive
from marloft.deploy.release.plan import make_plan
from marloft.deploy.release.write import apply
from tests.unit.deploy.release.conftest import SPLIT

RESPONSES = {
    "1.0": "{type: regression}",
    "1.1": "{type: regression, interval: 0.9}",
    "1.2": "{type: regression, per: request}",
    "1.3": "{type: regression}",
    "1.4": "{type: ranking}",
    "1.5": None,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of versions that answer differently."""
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder)
    config = folder / "archive_configs" / "ranker_v1.yaml"
    plain = [line for line in config.read_text().splitlines() if not line.startswith("golden")]
    for version, response in RESPONSES.items():
        declared = "" if response is None else f"response: {response}"
        text = "\n".join(plain).replace("response: {type: ranking}", declared)
        config.write_text(text.replace('version: "1.0"', f'version: "{version}"'))
        write_archive(config, folder / "store")
    return folder / "store"


def warned(folder: Path, store: Path, default: str, model: str = "") -> list[str]:
    """Apply a deployment of 1.0, then return what a plan with another default warns of."""
    file = folder / "deployment.yaml"
    versions = ", ".join(f'"{version}": {{}}' for version in RESPONSES)

    def write(default: str, more: str) -> None:
        file.write_text(
            f"default_model: ranker\nmodels: {{ranker: {{versions: {{{versions}}}, "
            f'default: "{default}"{more}}}}}\n'
        )

    write("1.0", "")
    apply(file, store, folder / "var")
    write(default, model)
    return make_plan(file, store, folder / "var").warnings


@pytest.mark.parametrize(
    ("default", "changes"),
    [
        ("1.1", "interval none → 0.9"),
        ("1.2", "per row → request"),
        ("1.4", "type regression → ranking, per row → none"),
    ],
)
def test_default_that_answers_otherwise_is_warned_of(
    tmp_path: Path, store: Path, default: str, changes: str
) -> None:
    assert warned(tmp_path, store, default) == [
        f"ranker {default}: answers otherwise than 1.0, the default ({changes}); clients that read "
        "one may not read the other."
    ]


@pytest.mark.parametrize("default", ["1.3", "1.5"])
def test_answer_of_the_same_form_or_undeclared_is_not(
    tmp_path: Path, store: Path, default: str
) -> None:
    assert warned(tmp_path, store, default) == []


def test_roll_out_and_experiment_are_warned_of(tmp_path: Path, store: Path) -> None:
    (warning,) = warned(tmp_path, store, "1.2", ", rollout: {steps: [5]}")
    assert warning.startswith("ranker 1.2: ")
    text = SPLIT.format(control="1.0", treatment="1.4", weights=(50, 50))
    (tmp_path / "experiment.yaml").write_text(text)
    (warning,) = warned(tmp_path, store, "1.0", ", experiment: experiment.yaml")
    assert warning.startswith("ranker 1.4: ")


def test_what_is_in_traffic_already_is_not_warned_of_again(tmp_path: Path, store: Path) -> None:
    warned(tmp_path, store, "1.2")
    apply(tmp_path / "deployment.yaml", store, tmp_path / "var")
    file = tmp_path / "deployment.yaml"
    file.write_text(file.read_text().replace('"1.0": {}', '"1.0": {workers: 2}'))
    assert make_plan(file, store, tmp_path / "var").warnings == []


def test_archive_that_is_gone_from_the_store_is_passed_over(tmp_path: Path, store: Path) -> None:
    warned(tmp_path, store, "1.0")
    fewer = tmp_path / "store"
    fewer.mkdir()
    (fewer / "ranker-1.4.mar").write_bytes((store / "ranker-1.4.mar").read_bytes())
    file = tmp_path / "deployment.yaml"
    file.write_text(
        'default_model: ranker\nmodels: {ranker: {versions: {"1.4": {}}, default: "1.4"}}\n'
    )
    assert make_plan(file, fewer, tmp_path / "var").warnings == []
