"""What an earlier commit packed and decided is served by this one."""

import shutil
from pathlib import Path

import pytest

from harness import factories
from tests.e2e.running import Serving, marloft, records

pytestmark = pytest.mark.e2e


def test_archives_and_releases_of_an_earlier_commit_serve(tmp_path: Path) -> None:
    shutil.copytree(factories.EARLIER / "model_store", tmp_path / "model_store")
    shutil.copytree(factories.EARLIER / "releases", tmp_path / "var" / "releases")
    shutil.copytree(factories.EARLIER / "routes", tmp_path / "var" / "run" / "routes")
    shutil.copy(factories.REPOSITORY / "config.properties", tmp_path)
    serving = Serving(tmp_path)
    serving.start()
    try:
        serving.wait_for("release 3 is live")
        answer = serving.predict(user_id=7, features=[{"item_id": 50}, {"item_id": 3}])
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["model_version"] == "v1.0"
        assert body["scores"] == pytest.approx(factories.score(7, [50, 3]), abs=1e-5)
        marloft(tmp_path, "rollback", "--to", "2")
        serving.wait_for("release 4 is live")
        said = marloft(tmp_path, "status", "--port-offset", str(serving.ports.offset))
        assert "what runs is what the release says" in said
    finally:
        serving.stop()
    assert [record.version for record in records(tmp_path)] == ["1.0"]
