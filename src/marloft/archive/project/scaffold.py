"""Writes a new project around a tiny model that works at once: what `marloft new` does."""

import json
import keyword
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from marloft.archive.checks.members import shadowed
from marloft.contract.manifest import Name
from marloft.errors import ConfigError, nearest
from marloft.files import write_new
from marloft.monitoring.project_dashboard import dashboard_for
from marloft.pages import shared_folder

ScaffoldRuntime = Literal["onnx", "torchscript"]
RUNTIMES: tuple[ScaffoldRuntime, ...] = ("onnx", "torchscript")
# Files of marloft's own that every project takes as they are.
_SHARED = (
    "handlers/outcomes.py",
    "archive_configs/outcomes.yaml",
    "monitoring/prometheus.yml",
    "monitoring/alertmanager.yml",
    "monitoring/rules/alerts.yaml",
)
_DASHBOARD = "monitoring/dashboards/serving.json"
_TEMPLATE = ".template"
_RENAMED = {"gitignore": ".gitignore"}
# Modules of the project itself, which the handler's would hide.
_OWN_MODULES = ("train", "simulate", "visitors", "handlers", "outcomes", "test")


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of project: what its model does and answers.

    `response` is the declared type, `top` how many entries of an answer a visitor looks at.
    `sends` is curl's part of a request whose body is a file, None for the first line of
    `requests.jsonl`.
    """

    about: str
    response: str
    top: int = 1
    sends: str | None = None


KINDS = {
    "ranking": Kind(about="Ranks the candidates of a request.", response="ranking", top=3),
    "classification": Kind(about="Gives each row a label.", response="classification"),
    "regression": Kind(about="Gives each row a number and an interval.", response="regression"),
    "image": Kind(
        about="Names what a picture shows; a request is the picture itself.",
        response="classification",
        sends="-H 'Content-Type: image/png' --data-binary @build/@name@/picture.png",
    ),
    "text": Kind(about="Gives each text a vector.", response="embedding"),
    "object": Kind(
        about="Answers a request with an object of a form of its own.", response="object"
    ),
}


def new_project(
    name: str, folder: Path, runtime: str = "onnx", kind: str = "classification"
) -> list[Path]:
    """Write a project of a model called `name` into `folder`; return its files.

    Args:
        name: the model's name, which is the handler module's too.
        folder: made if it is missing; what it holds is left alone.
        runtime: `onnx` or `torchscript`.
        kind: one of `KINDS`.

    Raises:
        ConfigError: the name is not allowed or hides a module, runtime or kind is unknown, or a
            file of the project is there already; then nothing is written.
    """
    _check(name, runtime, kind)
    texts = {folder / place: text for place, text in _texts(name, runtime, kind).items()}
    there = [path for path in texts if path.exists()]
    if there:
        raise ConfigError(f"{there[0]} exists; name an empty folder, or another one.")
    for path, text in texts.items():
        write_new(path, text.encode())
    return sorted(texts)


def next_commands(name: str) -> list[str]:
    """Return the commands that lead from a new project to its service."""
    return ["python train.py", " ".join(pack_command(name)), "marloft apply", "marloft serve"]


def pack_command(name: str) -> tuple[str, ...]:
    """Return the words of the command that packs all archives of a new project."""
    configs = (f"archive_configs/{each}.yaml" for each in (name, f"{name}_v2", "outcomes"))
    return ("marloft", "pack", *configs)


def handler_skeleton(name: str) -> str:
    """Return the text of a handler for an archive that was taken over, to be changed."""
    text = (_templates() / "adopted" / "handlers" / f"model.py{_TEMPLATE}").read_text("utf-8")
    return _filled(text, {"name": name, "Name": _class_name(name)})


def _check(name: str, runtime: str, kind: str) -> None:
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime {runtime!r} is unknown.{nearest(runtime, RUNTIMES)}")
    if kind not in KINDS:
        raise ConfigError(f"kind {kind!r} is unknown.{nearest(kind, list(KINDS))}")
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise ConfigError(
            f"{name!r} is no model name; use lower case letters, digits and _, a letter first."
        ) from None
    if keyword.iskeyword(name) or "__" in name:
        raise ConfigError(
            f"{name!r} is a word of Python's, or has the __ with which TorchServe names the parts "
            "of a workflow; choose another name."
        )
    if shadowed(f"{name}.py") is not None or name in _OWN_MODULES:
        raise ConfigError(
            f"{name!r} is the name of a Python module, which the handler would hide; choose "
            f"another, such as {name}_model."
        )


def _texts(name: str, runtime: str, kind: str) -> dict[str, str]:
    """Return the text of each file of the project, by its path there."""
    found = _walked(_templates() / "common", "") | _walked(_templates() / kind, "")
    config, handler = found.pop("model.yaml"), found.pop("handler.py")
    test = found.pop("tests/test_model.py")
    texts = {
        **found,
        **_shared(KINDS[kind].response),
        f"handlers/{name}.py": handler,
        f"tests/test_{name}.py": test,
        f"archive_configs/{name}.yaml": _filled(config, {"version": "1.0", "config": name}),
        f"archive_configs/{name}_v2.yaml": _filled(
            config, {"version": "2.0", "config": f"{name}_v2"}
        ),
    }
    values = {
        "about": KINDS[kind].about,
        "top": str(KINDS[kind].top),
        "curl": _curl(kind, found["requests.jsonl"]),
        "name": name,
        "Name": _class_name(name),
        "runtime": runtime,
        "suffix": runtime,
    }
    return {place: _filled(text, values) for place, text in texts.items()}


def _shared(response: str) -> dict[str, str]:
    folder = shared_folder()
    texts = {place: (folder / place).read_text("utf-8") for place in _SHARED}
    dashboard = (folder / _DASHBOARD).read_text("utf-8")
    return {**texts, "monitoring/dashboard.json": dashboard_for(dashboard, [response])}


def _curl(kind: str, requests: str) -> str:
    sends = KINDS[kind].sends
    if sends is None:
        body = json.dumps(json.loads(requests.splitlines()[0]))
        sends = f"-H 'Content-Type: application/json' \\\n  -d '{body}'"
    return f"curl -s localhost:8000/predict {sends}"


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _templates() -> Traversable:
    return resources.files("marloft.archive.project") / "templates"


def _walked(folder: Traversable, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in folder.iterdir():
        if each.is_dir():
            found |= _walked(each, f"{prefix}{each.name}/")
        elif each.name.endswith(_TEMPLATE):
            name = each.name.removesuffix(_TEMPLATE)
            found[prefix + _RENAMED.get(name, name)] = each.read_text(encoding="utf-8")
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text
