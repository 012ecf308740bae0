"""What a file imports is read from its source, and arrows that a path says already are dropped."""

from pathlib import Path

from tools.imports import import_graph, imported, modules, reduced


def test_imports_are_read_wherever_they_stand() -> None:
    source = "import a.b, c\nfrom d.e import f\ndef g():\n    from h import i\n"
    assert imported(source) == {"a.b", "c", "d.e.f", "h.i"}


def test_imports_for_types_alone_count_too() -> None:
    source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
    assert imported(source) == {"a", "b"}


def test_files_have_the_names_that_python_gives_them(tmp_path: Path) -> None:
    for name in ("src/pack/__init__.py", "src/pack/mod.py", "tools/mod.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert set(modules(tmp_path, "src", "tools")) == {"pack", "pack.mod", "tools.mod"}


def test_an_import_leads_to_the_module_that_holds_the_name(tmp_path: Path) -> None:
    texts = {
        "pack/__init__.py": "",
        "pack/a.py": "from pack.b import value\nimport json\nfrom pack import b\n",
        "pack/b.py": "from pack import VERSION\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    graph = import_graph(modules(tmp_path, "pack"))
    assert graph == {"pack": set(), "pack.a": {"pack.b"}, "pack.b": {"pack"}}


def test_reduction_keeps_what_is_reachable_and_no_arrow_too_many() -> None:
    graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}
