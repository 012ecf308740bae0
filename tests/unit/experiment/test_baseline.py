import json
from pathlib import Path

import numpy as np
import pytest

from marloft.errors import DataError
from marloft.experiment.baseline import moments_from_log
from marloft.experiment.design import read_experiment
from marloft.experiment.simulate import Truth, World, write_logs, write_release

EXPERIMENT = read_experiment(Path(__file__).parents[3] / "workflows/feed_ab/experiment.yaml")


def test_baseline_is_controls_ctr_and_its_spread_among_users(tmp_path: Path) -> None:
    truths = [Truth(ctr=0.6, model_ms=1, latency_ms=4), Truth(ctr=0.1, model_ms=1, latency_ms=4)]
    write_release(EXPERIMENT, tmp_path)
    write_logs(EXPERIMENT, World(users=300, requests_per_user=2, truths=truths), tmp_path)
    lines = (tmp_path / "log/predictions/release-1.jsonl").read_text().splitlines()
    clicks = {r["user_id"]: 0 for r in map(json.loads, lines) if r["version"] == "1.0"}
    for line in (tmp_path / "log/outcomes/release-1.jsonl").read_text().splitlines():
        user = json.loads(line)["request_id"].split("-")[1]
        if user in clicks:
            clicks[user] += 1
    found = moments_from_log(EXPERIMENT, tmp_path)
    # Each user saw six items, so the ratio metric is the mean of the users' own ratios.
    ratios = np.array(list(clicks.values())) / 6
    assert found.n == len(clicks)
    assert found.mean == pytest.approx(ratios.mean(), rel=1e-9)
    assert found.variance == pytest.approx(ratios.var(ddof=1), rel=1e-9)


def test_log_without_control_users_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no baseline"):
        moments_from_log(EXPERIMENT, tmp_path)
