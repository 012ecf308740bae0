"""k8s/: the rendered manifests are valid, current, and agree with the program they run."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from msgspec.yaml import decode

from harness.factories import REPOSITORY
from marloft.cli import app
from marloft.contract.manifest import WorkerSettings
from marloft.deploy.gateway.operations import (
    METRICS_GATEWAY,
    METRICS_SERVE,
    METRICS_TORCHSERVE,
    METRICS_WORKERS,
    PING,
    operations_listener,
)
from marloft.deploy.gateway.retries import request_limit_s
from marloft.deploy.ports import Ports
from marloft.deploy.processes.torchserve import TorchServe
from tests.required_programs import program

K8S = REPOSITORY / "k8s"
RENDERED = K8S / "kubernetes.yaml"
OVERLAY = K8S / "overlays" / "production"
KUBECTL = "https://kubernetes.io/docs/tasks/tools/ has kubectl 1.30 or newer"


def validate(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [program("kubernetes-validate", "make install"), "--strict", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def documents(text: str) -> list[Any]:
    return [decode(document) for document in text.split("\n---\n")]


def kustomize(folder: Path) -> str:
    command = [program("kubectl", KUBECTL), "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], Any]:
    found = documents(RENDERED.read_text())
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


@pytest.fixture(scope="module")
def pod(objects: dict[tuple[str, str], Any]) -> Any:
    return objects["Deployment", "marloft"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod: Any) -> Any:
    (only,) = pod["containers"]
    return only


def test_manifests_are_valid() -> None:
    result = validate(RENDERED, K8S / "toolbox.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    text = RENDERED.read_text()
    assert text.count("readinessProbe:") == 1
    wrong.write_text(text.replace("readinessProbe:", "readinesProbe:"))
    result = validate(wrong)
    assert result.returncode != 0
    assert "readinesProbe" in result.stdout + result.stderr


def test_rendered_file_is_current() -> None:
    assert kustomize(OVERLAY) == RENDERED.read_text(), "run `make k8s` and commit the result"


@pytest.mark.parametrize("component", ["pod-monitor", "keda"])
def test_component_fits_the_base(component: str, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (tmp_path / "k8s").symlink_to(K8S)
    lines = ["resources: [../k8s/base]", f"components: [../k8s/components/{component}]"]
    (overlay / "kustomization.yaml").write_text("\n".join(lines))
    kinds = [each["kind"] for each in documents(kustomize(overlay))]
    assert ("ScaledObject" in kinds) is (component == "keda")
    assert ("HorizontalPodAutoscaler" in kinds) is (component != "keda")
    assert ("PodMonitor" in kinds) is (component == "pod-monitor")


@pytest.mark.parametrize(
    "path", ["config.properties", "deployment.yaml", "workflows/feed_ab/experiment.yaml"]
)
def test_configuration_is_the_projects_own(path: str) -> None:
    """Kustomize reads nothing outside its folder, hence the copies that `make k8s` takes."""
    copy = K8S / "base" / Path(path).name
    assert copy.read_bytes() == (REPOSITORY / path).read_bytes(), "run `make k8s`"


def test_toolbox_has_every_file_that_the_deployment_names(objects: Any) -> None:
    deployment = decode(objects["ConfigMap", "marloft-deployment"]["data"]["deployment.yaml"])
    named = {model.get("experiment") for model in deployment["models"].values()} - {None}
    volumes = decode((K8S / "toolbox.yaml").read_text())["spec"]["volumes"]
    (items,) = [each["configMap"]["items"] for each in volumes if "configMap" in each]
    assert named | {"deployment.yaml"} == {item["path"] for item in items}
    keys = objects["ConfigMap", "marloft-deployment"]["data"].keys()
    assert {item["key"] for item in items} == keys


def test_ports_are_those_of_the_program(objects: Any, container: Any) -> None:
    ports = Ports()
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert named == {"http": ports.gateway, "operations": ports.operations}
    public = objects["Service", "marloft"]["spec"]["ports"]
    assert [port["targetPort"] for port in public] == ["http"]
    (operations,) = objects["Service", "marloft-operations"]["spec"]["ports"]
    assert (operations["port"], operations["targetPort"]) == (ports.operations, "operations")


def test_probes_ask_paths_that_exist(container: Any) -> None:
    def probe(kind: str) -> tuple[str, str]:
        asked = container[kind]["httpGet"]
        return asked["port"], asked["path"]

    assert probe("startupProbe") == probe("readinessProbe") == ("http", "/health")
    assert probe("livenessProbe") == ("operations", PING)
    assert PING in json.dumps(operations_listener(Ports(), "0.0.0.0"))


def test_arguments_are_options_of_serve(container: Any) -> None:
    group: Any = typer.main.get_command(app)
    serve = group.commands["serve"]
    known = {option for parameter in serve.params for option in parameter.opts}
    verb, *options = container["args"]
    assert verb == "serve"
    assert {option.split("=")[0] for option in options} <= known


def test_grace_period_covers_the_whole_stop(pod: Any, container: Any) -> None:
    (announced,) = re.findall(r"--drain-s=(\d+)", " ".join(container["args"]))
    (_, slept) = container["lifecycle"]["preStop"]["exec"]["command"]
    longest = request_limit_s([WorkerSettings()])
    needed = int(slept) + int(announced) + longest + 1 + TorchServe.stop_patience_s
    assert needed < pod["terminationGracePeriodSeconds"]


def test_container_has_no_privileges(pod: Any, container: Any) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_every_volume_mount_has_its_volume(pod: Any, container: Any, objects: Any) -> None:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
    claims = [
        v["persistentVolumeClaim"]["claimName"]
        for v in volumes.values()
        if len(v) == 2 and "persistentVolumeClaim" in v
    ]
    assert all(("PersistentVolumeClaim", claim) in objects for claim in claims)
    maps = [v["configMap"]["name"] for v in volumes.values() if "configMap" in v]
    assert all(("ConfigMap", name) in objects for name in maps)


def test_only_monitoring_reaches_operations_and_pods_reach_nothing(objects: Any) -> None:
    policy = objects["NetworkPolicy", "marloft"]["spec"]
    clients, operators = policy["ingress"]
    assert [port["port"] for port in clients["ports"]] == ["http"]
    assert [port["port"] for port in operators["ports"]] == ["operations"]
    assert operators["from"]
    assert policy["egress"] == []


def test_selectors_find_the_pods_of_the_deployment(objects: Any) -> None:
    labels = objects["Deployment", "marloft"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        objects["Deployment", "marloft"]["spec"]["selector"]["matchLabels"],
        objects["Service", "marloft"]["spec"]["selector"],
        objects["Service", "marloft-operations"]["spec"]["selector"],
        objects["PodDisruptionBudget", "marloft"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", "marloft"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()


def test_autoscaler_asks_for_a_metric_that_the_adapter_serves(objects: Any) -> None:
    (metric,) = objects["HorizontalPodAutoscaler", "marloft"]["spec"]["metrics"]
    rules = decode((K8S / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    assert [rule["name"]["as"] for rule in rules] == [metric["pods"]["metric"]["name"]]


@pytest.mark.parametrize(
    "path", ["prometheus-adapter-values.yaml", "components/keda/scaled-object.yaml"]
)
def test_scaling_queries_are_rates_of_metrics_that_torchserve_has(path: str) -> None:
    """A counter itself only grows, so that nothing would ever scale down."""
    text = (K8S / path).read_text()
    queries = re.findall(r"(?:metricsQuery|query): >-\n((?:[ ]+.*\n)+)", text)
    (query,) = [" ".join(found.split()) for found in queries]
    names = re.findall(r"ts_\w+", query)
    assert names
    assert len(names) == len(re.findall(r"rate\(ts_\w+", query))
    assert set(names) <= torchserve_metrics()


def torchserve_metrics() -> set[str]:
    import ts

    config = decode((Path(ts.__file__).parent / "configs" / "metrics.yaml").read_text())
    return {metric["name"] for metric in config["ts_metrics"]["counter"]}


def test_pod_monitor_scrapes_paths_that_exist() -> None:
    monitor = decode((K8S / "components/pod-monitor/pod-monitor.yaml").read_text())
    endpoints = monitor["spec"]["podMetricsEndpoints"]
    assert {endpoint["port"] for endpoint in endpoints} == {"operations"}
    paths = {endpoint["path"] for endpoint in endpoints}
    assert paths == {METRICS_WORKERS, METRICS_SERVE, METRICS_GATEWAY, METRICS_TORCHSERVE}


def test_toolbox_sees_the_store_and_the_releases_where_serving_does(container: Any) -> None:
    toolbox = decode((K8S / "toolbox.yaml").read_text())["spec"]["containers"][0]

    def shared(mounts: Any) -> set[tuple[str, str, str | None]]:
        return {(m["name"], m["mountPath"], m.get("subPath")) for m in mounts}

    both = shared(container["volumeMounts"]) & shared(toolbox["volumeMounts"])
    assert {path for _, path, _ in both} >= {
        "/srv/marloft/model_store",
        "/srv/marloft/var/releases",
    }
