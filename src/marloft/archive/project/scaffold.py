"""Writes a new project around a tiny model that works at once: what `marloft new` does."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import msgspec

from marloft.archive.checks.members import shadowed
from marloft.contract.manifest import Name
from marloft.errors import ConfigError, nearest
from marloft.files import write_new

ScaffoldRuntime = Literal["onnx", "torchscript"]
RUNTIMES: tuple[ScaffoldRuntime, ...] = ("onnx", "torchscript")
_TEMPLATE = ".template"
_RENAMED = {"gitignore": ".gitignore"}
_EXPORTS = {
    "onnx": """\
    torch.onnx.export(
        model,
        (people,),
        ARTIFACT,
        input_names=["people"],
        output_names=["score"],
        dynamic_shapes={"people": {0: torch.export.Dim("n")}},
        external_data=False,
        dynamo=True,
        verbose=False,
    )""",
    "torchscript": "    torch.jit.script(model).save(ARTIFACT)",
}


def new_project(name: str, folder: Path, runtime: str = "onnx") -> list[Path]:
    """Write a project of a model called `name` into `folder`; return its files.

    Args:
        name: the model's name, which is the handler module's too.
        folder: made if it is missing; what it holds is left alone.
        runtime: `onnx` or `torchscript`.

    Raises:
        ConfigError: the name is not allowed or hides a module, the runtime is unknown, or a file
            of the project is there already; then nothing is written.
    """
    _check(name, runtime)
    values = {
        "name": name,
        "Name": _class_name(name),
        "runtime": runtime,
        "suffix": runtime,
        "export": _EXPORTS[runtime],
    }
    texts = {folder / place: _filled(text, values) for place, text in _templates(name).items()}
    there = [path for path in texts if path.exists()]
    if there:
        raise ConfigError(f"{there[0]} exists; name an empty folder, or another one.")
    for path, text in texts.items():
        write_new(path, text.encode())
    return sorted(texts)


def handler_skeleton(name: str) -> str:
    """Return the text of a new project's handler, to be changed."""
    text = (resources.files("marloft.archive.project") / "templates" / "handlers").joinpath(
        f"model.py{_TEMPLATE}"
    )
    return _filled(text.read_text(encoding="utf-8"), {"name": name, "Name": _class_name(name)})


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _check(name: str, runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise ConfigError(f"runtime {runtime!r} is unknown.{nearest(runtime, RUNTIMES)}")
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise ConfigError(
            f"{name!r} is no model name; use lower case letters, digits and _, a letter first."
        ) from None
    module = shadowed(f"{name}.py")
    if module is not None or name in ("train", "test"):
        raise ConfigError(
            f"{name!r} is the name of a Python module, which the handler would hide; choose "
            f"another, such as {name}_model."
        )


def _templates(name: str) -> dict[str, str]:
    """Return each template's text by its path in the project."""
    root = resources.files("marloft.archive.project") / "templates"
    return {
        place.replace("model.py", f"{name}.py").replace("model.yaml", f"{name}.yaml"): text
        for place, text in _walked(root, "").items()
    }


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
