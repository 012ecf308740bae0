"""Exports answer as their source does; one that does not is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import DataError
from marloft.ranker import export, features, models
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import Ranker, table_sizes
from marloft.training.config import ModelConfig

pytestmark = pytest.mark.slow


WRITERS = {"onnx": export.write_onnx, "torchscript": export.write_torchscript}
PARENTS = {"model.pt": "0" * 64}


@pytest.fixture(scope="module")
def tables() -> FeatureTables:
    genres = [["Drama", "War"], ["Comedy"], ["War"]]
    return features.build_tables(
        np.array([9, 7]), np.array([50, 20, 30]), [1995, None, 1950], genres
    )


@pytest.fixture(scope="module")
def ranker(tables: FeatureTables) -> Ranker:
    torch.manual_seed(0)
    config = ModelConfig(embedding_dim=4, cross_layers=2, hidden=(8, 4), init_std=0.5)
    return Ranker(config, table_sizes(tables)).eval()


@pytest.fixture(scope="module")
def exported(ranker: Ranker, tmp_path_factory: pytest.TempPathFactory) -> dict[RuntimeName, Path]:
    folder = tmp_path_factory.mktemp("export")
    paths: dict[RuntimeName, Path] = {"onnx": folder / "a", "torchscript": folder / "b"}
    for name, path in paths.items():
        WRITERS[name](ranker, path)
    return paths


@pytest.fixture(scope="module")
def inputs(tables: FeatureTables) -> dict[str, NDArray[Any]]:
    users, items = np.meshgrid([7, 9, 1], [20, 30, 50, 1])
    return features.encode(tables, users.ravel(), items.ravel())


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_an_export_answers_as_its_source(
    ranker: Ranker,
    exported: dict[RuntimeName, Path],
    inputs: dict[str, NDArray[Any]],
    runtime: RuntimeName,
) -> None:
    expected, likes = models.score(ranker, inputs), np.arange(12) % 2
    sidecar = export.describe(exported[runtime], runtime, inputs, expected, likes, PARENTS)
    assert sidecar.max_abs_diff < 1e-6
    assert sidecar.rows_compared == 12
    assert sidecar.parents == PARENTS
    assert set(sidecar.metrics) == {"test_auc", "test_log_loss"}


def test_an_export_with_one_changed_weight_is_refused(
    ranker: Ranker,
    exported: dict[RuntimeName, Path],
    inputs: dict[str, NDArray[Any]],
    tmp_path: Path,
) -> None:
    proto = onnx.load(exported["onnx"])
    bias = next(t for t in proto.graph.initializer if t.name.endswith("head.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 0.01, bias.name))
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(DataError, match=r"model\.onnx differs from its source model by 0\.00"):
        export.describe(
            tmp_path / "model.onnx",
            "onnx",
            inputs,
            models.score(ranker, inputs),
            np.arange(12) % 2,
            PARENTS,
        )


def test_an_export_that_gives_nan_is_refused(
    exported: dict[RuntimeName, Path], inputs: dict[str, NDArray[Any]]
) -> None:
    nothing = np.full(12, np.nan, dtype=np.float32)
    with pytest.raises(DataError, match="by nan"):
        export.describe(exported["onnx"], "onnx", inputs, nothing, np.arange(12) % 2, PARENTS)


def test_onnx_bytes_are_the_same_each_time(
    ranker: Ranker, exported: dict[RuntimeName, Path], tmp_path: Path
) -> None:
    export.write_onnx(ranker, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == exported["onnx"].read_bytes()


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_an_export_holds_no_path_of_this_machine(
    exported: dict[RuntimeName, Path], runtime: RuntimeName
) -> None:
    content = exported[runtime].read_bytes()
    for path in (Path(features.__file__).parent, Path(torch.__file__).parent):
        assert str(path).encode() not in content
