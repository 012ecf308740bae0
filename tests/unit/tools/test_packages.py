"""The table of packages is what the source imports, and the committed picture shows it."""

from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from tools.imports import Graph, import_graph, modules, reduced
from tools.packages import (
    Package,
    between_packages,
    forbidden,
    package_of,
    read_packages,
    render_page,
    unused,
)

PACKAGES = read_packages((REPOSITORY / "docs" / "architecture.md").read_text())
GRAPH = import_graph(modules(REPOSITORY, "src"))
FREE = {"marloft"}


def test_every_module_has_a_row() -> None:
    assert {name for name in GRAPH if package_of(name, PACKAGES) is None} == FREE


def test_every_name_of_the_table_is_a_package_or_module() -> None:
    listed = [name for each in PACKAGES for name in each.names + each.may_import]
    assert [name for name in listed if f"marloft.{name}" not in GRAPH] == []
    own = [name for each in PACKAGES for name in each.names]
    assert len(own) == len(set(own))


def test_imports_are_in_the_table() -> None:
    assert forbidden(GRAPH, PACKAGES) == {}


def test_the_table_allows_nothing_that_is_not_made_use_of() -> None:
    assert unused(GRAPH, PACKAGES) == {}


def test_committed_picture_is_that_of_the_imports() -> None:
    page = (REPOSITORY / "docs" / "packages.md").read_text()
    assert page == render_page(reduced(between_packages(GRAPH, PACKAGES)))


TABLE = """
| package | its subject | may import |
|---|---|---|
| `base`, `tables` | values | nothing |
| `shop.till` | counts | `base` |
| `shop` | sells | `tables` |
"""


@pytest.fixture
def packages() -> list[Package]:
    return read_packages(TABLE)


def planted(**imports: str) -> Graph:
    return {
        f"marloft.{module.replace('__', '.')}": {f"marloft.{each}" for each in targets.split()}
        for module, targets in imports.items()
    }


def test_table_is_read(packages: list[Package]) -> None:
    assert [each.names for each in packages] == [("base", "tables"), ("shop.till",), ("shop",)]
    assert [each.label for each in packages] == ["base, tables", "shop.till", "shop"]
    assert [each.may_import for each in packages] == [(), ("base",), ("tables",)]


def test_the_most_specific_row_counts(packages: list[Package]) -> None:
    assert package_of("marloft.shop.till.drawer", packages) == packages[1]
    assert package_of("marloft.shop.tillage", packages) == packages[2]
    assert package_of("marloft.elsewhere", packages) is None


def test_an_import_that_is_not_in_the_table_is_noticed(packages: list[Package]) -> None:
    graph = planted(shop__till="base.values tables", shop__door="tables base", base="tables shop")
    assert forbidden(graph, packages) == {
        "marloft.shop.till": {"marloft.tables"},
        "marloft.shop.door": {"marloft.base"},
        "marloft.base": {"marloft.shop"},
    }
    assert forbidden(planted(elsewhere="base"), packages) == {"marloft.elsewhere": {"marloft.base"}}


def test_an_entry_that_nothing_makes_use_of_is_noticed(packages: list[Package]) -> None:
    assert unused(planted(shop__till="base.values", shop="base"), packages) == {"shop": {"tables"}}


def test_another_import_makes_another_picture(packages: list[Package]) -> None:
    graph = planted(shop__till="base", shop__door="tables shop.till")
    drawn = between_packages(graph, packages)
    assert drawn == {
        "base, tables": set(),
        "shop.till": {"base, tables"},
        "shop": {"base, tables", "shop.till"},
    }
    assert 'p2["shop"]' in render_page(reduced(drawn))
    assert "p2 --> p1\n" in render_page(reduced(drawn))
    assert "p2 --> p0" not in render_page(reduced(drawn)), "a path says it already"
    assert "p2 --> p0" in render_page(drawn)


def test_modules_below_src_are_read(tmp_path: Path) -> None:
    (tmp_path / "src" / "marloft").mkdir(parents=True)
    (tmp_path / "src" / "marloft" / "one.py").write_text("from marloft import two\n")
    (tmp_path / "src" / "marloft" / "two.py").write_text("")
    graph = import_graph(modules(tmp_path, "src"))
    assert graph == {"marloft.one": {"marloft.two"}, "marloft.two": set()}
