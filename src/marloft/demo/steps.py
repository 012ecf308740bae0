"""The demo's steps; each can be run by hand with the commands it shows."""

from pathlib import Path
from typing import Any

from marloft.assignment import arm_of
from marloft.contract.audit import FairnessReport, summarize
from marloft.contract.manifest import ArchiveSidecar, archive_path
from marloft.contract.release import read_release, releases_folder
from marloft.demo.run import Demo, Step
from marloft.demo.serving import ask, ask_workflow, load, serving, wait_until_live
from marloft.deploy.torchserve.workflows import WorkflowApi
from marloft.errors import StepError
from marloft.files import read_json, sidecar_path, write_atomic

ARCHIVES = (
    *("ranker_v1", "ranker_v2", "ranker_planted", "outcomes"),
    *("feed_ab_assign", "feed_ab_select"),
)
EXPERIMENT = Path("workflows/feed_ab/experiment.yaml")
WORKFLOW = Path("workflows/feed_ab/workflow.yaml")
PLANTED = Path("workflows/feed_planted/experiment.yaml")
LOAD_S = 37
PLANTED_S = 17
WORKFLOW_USERS = 200
PLANTED_DEPLOYMENT = """\
default_model: ranker
models:
  ranker:
    versions: {"1.0": {}, "9.0": {}}
    default: "1.0"
    experiment: ../../workflows/feed_planted/experiment.yaml
  outcomes: {versions: {"1.0": {}}, default: "1.0"}
"""


def data(demo: Demo) -> None:
    """Fetch MovieLens 100K and prepare the splits, feature tables and audience."""
    demo.run("marloft", "data", "fetch")
    demo.run("marloft", "data", "prepare")
    found = read_json(Path("build/data/dataset.json"), dict[str, Any])
    demo.summary["data"] = {"name": found["name"], "rows": found["rows"]}


def train(demo: Demo) -> None:
    """Train the ranker by FSDP on two processes."""
    demo.run("torchrun", "--nproc-per-node", "2", "training/train.py")
    found = read_json(Path("build/train/result.json"), dict[str, Any])
    keys = ("valid_auc", "test_auc", "world_size", "seconds")
    demo.summary["train"] = {key: found[key] for key in keys}


def optimize(demo: Demo) -> None:
    """Export to ONNX and TorchScript, quantize, distil, and measure every form."""
    demo.run("python", "training/export.py")
    demo.run("python", "training/quantize.py")
    demo.run("python", "training/distil.py")
    demo.run("python", "training/benchmark.py", "--quick")
    found = read_json(Path("build/benchmark/latency.json"), dict[str, Any])
    demo.summary["optimize"] = [
        {
            "artifact": row["artifact"],
            "runtime": row["runtime"],
            "p50_ms": row["p50_ms"],
            "size_bytes": row["size_bytes"],
            "test_auc": row["test_auc"],
        }
        for row in found["rows"]
        if row["candidates"] == 50
    ]


def fairness(demo: Demo) -> None:
    """Audit the decision `score >= t` between groups of users, and write the model card."""
    demo.run("python", "training/fairness_audit.py")
    demo.run("marloft", "card", "training/card.yaml")
    demo.summary["fairness"] = summarize(
        read_json(Path("build/fairness/fairness.json"), FairnessReport)
    )


def pack(demo: Demo) -> None:
    """Pack the archives and replay the golden answers of those that have any."""
    configs = [f"archive_configs/{name}.yaml" for name in ARCHIVES]
    demo.run("marloft", "pack", *configs, WORKFLOW, "--out", demo.store)
    for version in ("1.0", "2.0"):
        archive = archive_path(demo.store, "ranker", version)
        demo.run("marloft", "verify", archive, "--replay", "--trust", quiet=True)
    demo.summary["archives"] = [describe(archive) for archive in sorted(demo.store.glob("*.mar"))]


def describe(archive: Path) -> dict[str, str]:
    """Return what `summary.json` says of an archive."""
    found = read_json(sidecar_path(archive), ArchiveSidecar)
    return {
        "path": str(archive),
        "name": found.name,
        "version": found.version,
        "sha256": found.sha256,
    }


def serve(demo: Demo) -> None:
    """Deploy with the experiment running, and ask one question."""
    demo.run("marloft", "apply", "deployment.yaml", *where(demo))
    demo.running.enter_context(serving(demo))
    ask(demo)


def experiment(demo: Demo) -> None:
    """Let readers click, then decide between fp32 and INT8."""
    stats = load(demo, "load", LOAD_S)
    asked = stats["/predict"]
    demo.summary["serving"] = {
        "qps": float(asked["Requests/s"]),
        "p50_ms": float(asked["50%"]),
        "p95_ms": float(asked["95%"]),
        "p99_ms": float(asked["99%"]),
        "errors": int(stats["Aggregated"]["Failure Count"]),
        "requests": int(asked["Request Count"]),
    }
    report = analyze(demo, EXPERIMENT, "feed_ab")
    effect = next(e for e in report["results"]["effects"] if e["metric"] == "ctr")["estimate"]
    demo.summary["experiment"] = {
        "name": report["experiment"],
        "arms": [
            {key: arm[key] for key in ("name", "version", "users", "requests", "ctr")}
            for arm in report["results"]["arms"]
        ],
        "srm_p": report["results"]["srm_p"],
        "effect": effect["value"],
        "ci": [effect["low"], effect["high"]],
        "p": effect["p"],
        "decision": report["decision"],
    }


def workflow(demo: Demo) -> None:
    """Ask readers through the workflow archive: the same arms without a gateway."""
    api = WorkflowApi(demo.ports.management)
    demo.say(f"  POST :{demo.ports.management}/workflows?url=feed_ab.war")
    api.register("feed_ab.war")
    try:
        asked = ask_workflow(demo, "feed_ab", WORKFLOW_USERS)
    finally:
        api.unregister("feed_ab")
        api.close()
    allocation = read_release(releases_folder(demo.var)).models["ranker"].allocation
    if allocation is None:
        raise StepError("the newest release runs no experiment.")
    wrong = [user for user, arm in asked.items() if arm != arm_of(allocation, str(user))]
    if wrong:
        raise StepError(
            f"{len(wrong)} users got another arm than at the gateway, first {wrong[0]}."
        )
    demo.say(f"    {len(asked)} of {len(asked)} users got the arm they have at the gateway")


def planted(demo: Demo) -> None:
    """Try a ranker that is bad on purpose; then take it back."""
    deployment = demo.out / "planted.yaml"
    write_atomic(deployment, PLANTED_DEPLOYMENT)
    demo.run("marloft", "apply", deployment, *where(demo))
    wait_until_live(demo)
    load(demo, "planted", PLANTED_S)
    report = analyze(demo, PLANTED, "feed_planted")
    demo.summary["planted"] = {"name": report["experiment"], "decision": report["decision"]}
    demo.run("marloft", "rollback", *where(demo))
    wait_until_live(demo)


def analyze(demo: Demo, design: Path, name: str) -> dict[str, Any]:
    """Run the analysis and return its report, as `report.json` has it."""
    out = demo.out / name
    demo.run("marloft", "experiment", "analyze", design, "--var", demo.var, "--out", out)
    return read_json(out / "report.json", dict[str, Any])


def where(demo: Demo) -> tuple[str | Path, ...]:
    """Return the options that keep the demo off the user's own releases."""
    return ("--store", demo.store, "--var", demo.var)


STEPS = (
    Step(name="data", title="fetch and prepare real data", run=data),
    Step(name="train", title="train on two processes", run=train),
    Step(name="optimize", title="export, quantize, measure", run=optimize),
    Step(name="fairness", title="audit fairness, write the model card", run=fairness),
    Step(name="pack", title="pack and verify model archives", run=pack),
    Step(name="serve", title="serve behind the gateway", run=serve),
    Step(name="experiment", title="A/B test of fp32 against INT8 under load", run=experiment),
    Step(name="workflow", title="the same split by a workflow archive", run=workflow),
    Step(name="planted", title="A/B test of a ranker that is bad on purpose", run=planted),
)
