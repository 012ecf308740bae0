"""Member names: what could leave the folder, hide a module or overwrite another is found."""

import pytest

from marloft.archive.checks.members import colliding, shadowed, unsafe


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../up.txt",
        "a/../../up.txt",
        "C:/windows",
        "a\\b",
        "",
        "a/",
        "./a",
        "a//b",
        "a\nb",
    ],
)
def test_unsafe_name_is_found(name: str) -> None:
    assert unsafe(name) is not None


@pytest.mark.parametrize("name", ["model.onnx", "MAR-INF/MANIFEST.json", "a/b/c.txt", "..a", "ä"])
def test_plain_name_is_safe(name: str) -> None:
    assert unsafe(name) is None


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("json.py", "json"),
        ("select.py", "select"),
        ("random/__init__.py", "random"),
        ("numpy.py", "numpy"),
        ("marloft/serving/handler.py", "marloft"),
        ("math.cpython-311-x86_64-linux-gnu.so", "math"),
        ("pytest.py", "pytest"),
        ("pytest/__init__.py", "pytest"),
    ],
)
def test_member_that_hides_a_module_is_found(name: str, module: str) -> None:
    assert shadowed(name) == module


@pytest.mark.parametrize(
    "name", ["ranker.py", "json", "schema.json", "numpy.txt", "pytest/words.txt"]
)
def test_member_that_hides_nothing_is_fine(name: str) -> None:
    assert shadowed(name) is None


def test_collisions_ignore_case_and_see_folders() -> None:
    assert colliding(["a.txt", "A.TXT"]) == "a.txt"
    assert colliding(["data", "data/x"]) == "data/x"
    assert colliding(["data/x", "data/y", "database"]) is None
