"""An export is described only if it answers as its source does."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from marloft.archive.export import describe_export
from marloft.archive.spec import read_artifact
from marloft.errors import DataError
from marloft.ranker.features import encode
from tests import factories

ITEMS = [50, 3, 7]


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = factories.write_export(tmp_path) / "model.onnx"
    path.with_name("model.onnx.json").unlink()
    return path


def _scores() -> NDArray[np.float64]:
    return np.array(factories.score(7, ITEMS))


def _describe(path: Path, **expected: NDArray[np.float64]) -> None:
    rows = encode(factories.tables(), np.full(3, 7), np.array(ITEMS))
    parents = [path.with_name("tables.npz")]
    describe_export(path, runtime="onnx", inputs=rows, expected=expected, parents=parents)


def test_sidecar_is_what_pack_reads(artifact: Path) -> None:
    _describe(artifact, score=_scores())
    sidecar = read_artifact(artifact, "onnx")
    assert sidecar.inputs["genres"] == "float32[n,3]"
    assert sidecar.outputs == {"score": "float64[n]"}
    assert list(sidecar.parents) == ["tables.npz"]
    assert sidecar.rows_compared == 3
    assert sidecar.max_abs_diff < 1e-6


def test_export_that_answers_otherwise_is_refused(artifact: Path) -> None:
    with pytest.raises(DataError, match=r"differs from its source model by 0\.001"):
        _describe(artifact, score=_scores() + 1e-3)
    with pytest.raises(DataError, match="differs from its source model by nan"):
        _describe(artifact, score=_scores() * np.nan)
    with pytest.raises(DataError, match="no output 'probability'; it has: score"):
        _describe(artifact, probability=_scores())
    with pytest.raises(DataError, match="dynamic row axis"):
        _describe(artifact, score=_scores()[:2])
    assert not artifact.with_name("model.onnx.json").exists()
