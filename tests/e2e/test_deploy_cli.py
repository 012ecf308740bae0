"""`marloft apply` as people type it: it waits for a server that reports, and says what is next."""

import threading
from pathlib import Path

import pytest

from harness import factories
from marloft.contract.live import Live, VersionState, live_path
from marloft.deploy.running import exclusive
from marloft.files import write_json
from tests.e2e.running import configure, marloft

pytestmark = pytest.mark.e2e

PLAIN = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}}, default: "1.0"}
"""
STEPPED = """\
default_model: ranker
models:
  ranker:
    versions: {"2.0": {}}
    default: "2.0"
    rollout: {steps: [5, 50], hold_s: 60}
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder)
    for name in ("ranker_torchscript.yaml", "ranker_planted.yaml"):
        (folder / "archive_configs" / name).unlink()
    configure(folder, PLAIN)
    return folder


@pytest.fixture
def project(packed: Path, tmp_path: Path) -> Path:
    """A folder of its own over one model store, with release 1 written."""
    (tmp_path / "model_store").symlink_to(packed / "model_store")
    (tmp_path / "deployment.yaml").write_text(PLAIN)
    marloft(tmp_path, "apply")
    return tmp_path


def reported(project: Path, release: int, live: bool, state: VersionState) -> None:
    report = Live(
        time="now", release=release, live=live, serving={}, versions={"ranker": {"2.0": state}}
    )
    write_json(live_path(project / "var"), report)


def test_apply_waits_until_the_first_step_is_live(project: Path) -> None:
    (project / "deployment.yaml").write_text(STEPPED)
    with exclusive(project / "var"):
        soon = threading.Timer(1.5, reported, (project, 2, True, VersionState(state="ready")))
        soon.start()
        said = marloft(project, "apply")
        soon.join()
    assert "release 2 is live.\nranker 2.0 has 5 % of the traffic; 50 % follow after 60 s" in said
