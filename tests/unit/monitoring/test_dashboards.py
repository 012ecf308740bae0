"""The dashboard is what the code says, and asks only for metrics that exist."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.factories import REPOSITORY
from marloft.contract import metric_names as names
from marloft.monitoring.dashboards import main, serving_dashboard
from tests.unit.monitoring.promql import metrics_of

DASHBOARD = REPOSITORY / "monitoring" / "dashboards" / "serving.json"
RULES = REPOSITORY / "monitoring" / "rules" / "alerts.yaml"
# `up` is Prometheus' own.
_OWN = {value for value in vars(names).values() if isinstance(value, str)} | {"up"}
_PARTS = {f"{name}_{part}" for name in names.HISTOGRAMS for part in ("bucket", "sum", "count")}


def rules() -> list[dict[str, Any]]:
    groups = msgspec.yaml.decode(RULES.read_bytes())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def known() -> set[str]:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return (_OWN | _PARTS | recorded) - set(names.HISTOGRAMS)


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return asked + [rule["expr"] for rule in rules()]


def test_committed_dashboard_is_the_generated_one(tmp_path: Path) -> None:
    assert main([str(tmp_path / "new.json")]) == 0
    assert (tmp_path / "new.json").read_text() == DASHBOARD.read_text(), (
        "run: python -m marloft.monitoring.dashboards monitoring/dashboards/serving.json"
    )


def test_dashboard_is_the_same_text_each_time() -> None:
    assert serving_dashboard() == serving_dashboard()


def test_dashboard_of_one_type_has_its_panels_alone() -> None:
    assert "Mean absolute error" in serving_dashboard(["regression"])
    assert "Mean absolute error" not in serving_dashboard(["classification"])


@pytest.mark.parametrize("expression", expressions())
def test_expression_parses_and_asks_for_known_metrics(expression: str) -> None:
    asked = metrics_of(expression)
    assert asked
    assert asked <= known()


def test_unknown_metric_and_broken_promql_are_noticed() -> None:
    wrong = "sum by (le) (rate(marloft_stage_second_bucket[5m])) / marloft_live_ctr"
    assert metrics_of(wrong) - known() == {"marloft_stage_second_bucket"}
    with pytest.raises(ValueError, match=r"unexpected|unclosed|invalid"):
        metrics_of("sum by (le (rate(marloft_live_ctr[5m]))")
