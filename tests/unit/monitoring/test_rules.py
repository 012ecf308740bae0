"""Alerts are tested code: promtool runs their cases, and each has its entry in the runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.factories import REPOSITORY
from marloft.contract.request_end import REFUSALS, VERSION_ERRORS
from tests.required_programs import tool

pytestmark = pytest.mark.slow


MONITORING = REPOSITORY / "monitoring"
RULES = MONITORING / "rules" / "alerts.yaml"
CASES = sorted((MONITORING / "rules_test").glob("*.yaml"))


def load(path: Path) -> Any:
    return msgspec.yaml.decode(path.read_bytes())


def alerts() -> dict[str, dict[str, Any]]:
    rules = [rule for group in load(RULES)["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def headings(text: str) -> set[str]:
    """The anchors of a Markdown page's sections."""
    titles: list[str] = re.findall(r"^## (.+)$", text, re.MULTILINE)
    return {title.lower().replace(" ", "-") for title in titles}


def run_cases(folder: Path) -> subprocess.CompletedProcess[str]:
    files = [str(path) for path in sorted((folder / "rules_test").glob("*.yaml"))]
    command = [tool("promtool"), "test", "rules", *files]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MONITORING, tmp_path / "monitoring"))


def test_there_are_seven_alerts_with_severity_summary_and_runbook() -> None:
    assert len(alerts()) == 7
    for rule in alerts().values():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "runbook_url"}


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_each_alert_has_a_runbook_entry_with_meaning_diagnosis_and_mitigation(alert: str) -> None:
    page, anchor = alerts()[alert]["annotations"]["runbook_url"].split("#")
    text = (REPOSITORY / page).read_text()
    assert anchor in headings(text)
    entry = re.split(rf"^## {alert}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    assert all(f"**{part}.**" in entry for part in ("Meaning", "Diagnosis", "Mitigation"))


def test_alerts_tell_errors_and_refusals_as_the_guardrails_do() -> None:
    text = {name: rule["expr"] for name, rule in alerts().items()}
    assert f"{{{VERSION_ERRORS}}}" in text["MarloftErrorsHigh"]
    assert all(f"{{{matcher}}}" in text["MarloftRefusing"] for matcher in REFUSALS)


def test_runbook_describes_no_alert_that_does_not_exist() -> None:
    known = {alert.lower() for alert in alerts()}
    assert headings((MONITORING / "runbook.md").read_text()) == known


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(alert: str) -> None:
    whole_tests = [test["alert_rule_test"] for path in CASES for test in load(path)["tests"]]
    mine = [[c for c in cases if c["alertname"] == alert] for cases in whole_tests]
    fires = [any(case["exp_alerts"] for case in cases) for cases in mine if cases]
    assert True in fires
    assert False in fires


def test_cases_pass() -> None:
    done = run_cases(MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("change", [("> 0.1\n", "> 9\n"), ("> 0.01", "> 0.001"), ("> 4", "> 0.4")])
def test_cases_notice_a_changed_threshold(copy: Path, change: tuple[str, str]) -> None:
    path = copy / "rules" / "alerts.yaml"
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    assert run_cases(copy).returncode != 0


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_cases_notice_an_alert_that_never_fires(copy: Path, alert: str) -> None:
    path = copy / "rules" / "alerts.yaml"
    changed = load(path)
    for group in changed["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == alert:
                rule["expr"] = "vector(1) > 2"
    path.write_bytes(msgspec.yaml.encode(changed))
    assert run_cases(copy).returncode != 0


def test_prometheus_accepts_its_configuration() -> None:
    command = [tool("promtool"), "check", "config", str(MONITORING / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 rules found" in done.stdout


def test_alertmanager_accepts_its_configuration() -> None:
    command = [tool("amtool"), "check-config", str(MONITORING / "alertmanager.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_scrapes_the_ports_that_serve() -> None:
    from marloft.deploy.ports import Ports

    ports = Ports()
    jobs = load(MONITORING / "prometheus.yml")["scrape_configs"]
    assert {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs} == {
        "workers": [f"127.0.0.1:{ports.exporter}"],
        "serve": [f"127.0.0.1:{ports.supervisor}"],
        "gateway": [f"127.0.0.1:{ports.envoy_admin}"],
        "torchserve": [f"127.0.0.1:{ports.metrics}"],
    }
