"""What an archive says is read as it is; each kind of difference gets its own category."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness import factories
from marloft.archive.inspection import Difference, compare, inspect
from marloft.archive.pack import write_archive
from marloft.contract.response import ClassificationResponse, RankingResponse
from marloft.errors import ArchiveError
from marloft.files import sha256_file

CARD = """---
license: apache-2.0
model-index:
- name: Tiny
  results:
  - metrics:
    - {type: test_auc, value: %s}
---

# Tiny ranker
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return factories.write_project(tmp_path / "project")


def _pack(project: Path, store: Path, config: str = "ranker_v1") -> Path:
    return store / write_archive(project / "archive_configs" / f"{config}.yaml", store).file


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_description_is_what_was_packed(project: Path, tmp_path: Path) -> None:
    path = _pack(project, tmp_path)
    found = inspect(path)
    assert (found.name, found.version, found.runtime) == ("ranker", "1.0", "onnx")
    assert found.sha256 == sha256_file(path)
    artifact = project / "build" / "export" / "model.onnx"
    assert found.members["model.onnx"].sha256 == sha256_file(artifact)
    assert found.members["model.onnx"].size_bytes == artifact.stat().st_size
    assert found.schema is not None
    assert list(found.schema.row) == ["item_id"]
    assert (found.golden_answers, found.audit, found.signed) == (6, "pass", False)
    (tmp_path / f"{path.name}.sig").touch()
    assert inspect(path).signed


def test_archive_of_code_alone_is_described(project: Path, tmp_path: Path) -> None:
    found = inspect(_pack(project, tmp_path, "outcomes"))
    assert (found.runtime, found.schema, found.golden_answers, found.audit) == (None, None, 0, None)


def test_metrics_are_the_cards(project: Path, tmp_path: Path) -> None:
    card = project / "build" / "card" / "model_card.md"
    artifact = sha256_file(project / "build" / "export" / "model.onnx")
    card.write_text(CARD % 0.79 + artifact)
    assert inspect(_pack(project, tmp_path)).metrics == {"test_auc": 0.79}


def _rewrite(file: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda project: _edit(project / file, old, new)


def _add_words(project: Path) -> None:
    (project / "words.txt").write_text("hello")
    _edit(CONFIG(project), "  tables.npz:", "  words.txt: ../words.txt\n  tables.npz:")


def CONFIG(project: Path) -> Path:  # noqa: N802
    return project / "archive_configs" / "ranker_v1.yaml"


_YAML = "archive_configs/ranker_v1.yaml"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_rewrite("build/export/model.onnx.json", "0" * 64, "1" * 64), ("weights", "parent")),
        (_rewrite("handlers/ranker.py", "best first.", "first best."), ("code", "ranker.py")),
        (_rewrite(_YAML, "max_rows: 500", "max_rows: 90"), ("schema", "max_rows")),
        (_rewrite(_YAML, "minimum: 0", "minimum: 1"), ("schema", "item_id")),
        (_rewrite(_YAML, "response: {type: ranking}\n", ""), ("response", "type")),
        (_rewrite(_YAML, "batch_size: 16", "batch_size: 8"), ("settings", "batch_size")),
        (_rewrite("build/card/model_card.md", "# Tiny", "# Small"), ("card", "model_card.md")),
        (
            _rewrite("build/export/golden.jsonl", '"user_id":9', '"user_id":10'),
            ("golden", "golden.jsonl"),
        ),
        (_add_words, ("members", "words.txt")),
    ],
)
def test_difference_has_the_category_of_its_cause(
    project: Path, tmp_path: Path, change: Callable[[Path], None], expected: tuple[str, str]
) -> None:
    before = inspect(_pack(project, tmp_path / "one"))
    change(project)
    (found,) = compare(before, inspect(_pack(project, tmp_path / "two")))
    assert (found.category, found.what.split(" ")[0]) == expected
    assert found.before != found.after


def test_changed_response_is_a_difference_key_by_key(project: Path, tmp_path: Path) -> None:
    ranker = inspect(_pack(project, tmp_path))
    assert ranker.response == RankingResponse()
    rows = replace(ranker, response=ClassificationResponse(labels=["a", "b"]))
    whole = replace(ranker, response=ClassificationResponse(labels=["a", "c"], per="request"))
    assert [(each.what, each.before, each.after) for each in compare(ranker, rows)] == [
        ("labels", None, ["a", "b"]),
        ("per", None, "row"),
        ("type", "ranking", "classification"),
    ]
    assert [(each.what, each.before, each.after) for each in compare(rows, whole)] == [
        ("labels", ["a", "b"], ["a", "c"]),
        ("per", "row", "request"),
    ]


def test_quantized_archive_differs_in_what_it_should(project: Path, tmp_path: Path) -> None:
    factories.write_export(project / "build" / "export" / "other", seed=1)
    one, two = (inspect(_pack(project, tmp_path, f"ranker_v{n}")) for n in (1, 2))
    found = compare(one, two)
    assert Difference(category="metrics", what="audit", before="pass", after=None) in found
    assert ("settings", "golden_tolerance") in {(each.category, each.what) for each in found}
    assert compare(one, one) == []


def test_damaged_archive_is_refused_with_its_first_fault(project: Path, tmp_path: Path) -> None:
    path = _pack(project, tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"class RankerHandler")] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"MRL006 ranker\.py: .*marloft verify"):
        inspect(path)
