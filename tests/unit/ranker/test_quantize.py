"""Dynamic INT8: what it keeps of its source, and the bounds that refuse a file that keeps less."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy import stats

from marloft.errors import DataError
from marloft.ranker import export, features, metrics, models, quantize
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import Ranker, table_sizes
from marloft.ranker.quantize import Bounds, QuantizationQuality
from marloft.runtimes import load_runtime
from marloft.training.config import ModelConfig

pytestmark = pytest.mark.slow


BOUNDS = Bounds(min_rank_correlation=0.99, max_auc_loss=0.01, max_abs_diff=0.05)


@pytest.fixture(scope="module")
def tables() -> FeatureTables:
    items = np.arange(40)
    genres = [[("Drama", "Comedy", "War")[item % 3]] for item in items]
    return features.build_tables(np.arange(20), items, [1930 + int(i) for i in items], genres)


@pytest.fixture(scope="module")
def ranker(tables: FeatureTables) -> Ranker:
    torch.manual_seed(0)
    config = ModelConfig(embedding_dim=8, cross_layers=2, hidden=(16, 8), init_std=0.3)
    return Ranker(config, table_sizes(tables)).eval()


@pytest.fixture(scope="module")
def inputs(tables: FeatureTables) -> dict[str, NDArray[Any]]:
    users, items = np.meshgrid(np.arange(21), np.arange(41))
    return features.encode(tables, users.ravel(), items.ravel())


@pytest.fixture(scope="module")
def expected(ranker: Ranker, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    return models.score(ranker, inputs)


@pytest.fixture(scope="module")
def likes(expected: NDArray[np.float32]) -> NDArray[np.int64]:
    return (np.random.default_rng(0).random(len(expected)) < expected).astype(np.int64)


@pytest.fixture(scope="module")
def source(ranker: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantize") / "model.onnx"
    export.write_onnx(ranker, path)
    return path


@pytest.fixture(scope="module")
def int8(source: Path) -> Path:
    path = source.with_name("model.int8.onnx")
    quantize.write_int8(source, path)
    return path


@pytest.fixture(scope="module")
def quality(
    int8: Path,
    inputs: dict[str, NDArray[Any]],
    expected: NDArray[np.float32],
    likes: NDArray[np.int64],
) -> QuantizationQuality:
    return quantize.measure(int8, inputs, expected, likes)


def test_int8_file_answers_almost_as_its_source(quality: QuantizationQuality, int8: Path) -> None:
    quantize.refuse_degraded(int8.name, quality, BOUNDS)
    assert 0 < quality.max_abs_diff <= quality.worst_abs_diff < 0.05
    assert 0 < quality.worst_spread <= 2 * quality.worst_abs_diff
    assert quality.rows_compared == 21 * 41


def test_int8_file_holds_integer_weights(int8: Path) -> None:
    graph = onnx.load(int8).graph
    assert "MatMulInteger" in {node.op_type for node in graph.node}
    integers = [t for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert len(integers) >= 5
    # 7 bits, so that no sum of products saturates on CPUs without VNNI.
    assert max(int(np.abs(numpy_helper.to_array(t).astype(int)).max()) for t in integers) <= 64


def test_int8_bytes_are_the_same_each_time(source: Path, int8: Path, tmp_path: Path) -> None:
    quantize.write_int8(source, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == int8.read_bytes()


def test_int8_file_holds_no_path_of_this_machine(source: Path, int8: Path) -> None:
    content = int8.read_bytes()
    for path in (source.parent, Path(features.__file__).parent, Path(torch.__file__).parent):
        assert str(path).encode() not in content


def test_row_depends_on_its_neighbours_within_the_worst_difference(
    int8: Path,
    inputs: dict[str, NDArray[Any]],
    expected: NDArray[np.float32],
    quality: QuantizationQuality,
) -> None:
    runtime, rows = load_runtime("onnx", int8, threads=1), np.arange(len(expected))
    alone = quantize.run_in_parts(runtime, inputs, rows, 1)
    together = quantize.run_in_parts(runtime, inputs, rows, len(rows))
    assert 0 < np.abs(alone - together).max() <= quality.worst_spread + 1e-7
    for scores in (alone, together):
        assert np.abs(scores - expected).max() <= quality.worst_abs_diff + 1e-7


def test_run_in_parts_gives_each_row_its_own_score(
    source: Path, inputs: dict[str, NDArray[Any]], expected: NDArray[np.float32]
) -> None:
    order = np.random.default_rng(1).permutation(len(expected))
    scores = quantize.run_in_parts(load_runtime("onnx", source, threads=1), inputs, order, 50)
    assert scores == pytest.approx(expected, abs=1e-6)


def test_damaged_weight_is_refused(
    source: Path,
    inputs: dict[str, NDArray[Any]],
    expected: NDArray[np.float32],
    likes: NDArray[np.int64],
    tmp_path: Path,
) -> None:
    proto = onnx.load(source)
    weight = next(t for t in proto.graph.initializer if t.name.endswith("item.weight"))
    shuffled = np.random.default_rng(0).permutation(numpy_helper.to_array(weight))
    weight.CopyFrom(numpy_helper.from_array(shuffled, weight.name))
    onnx.save(proto, tmp_path / "damaged.onnx")
    quantize.write_int8(tmp_path / "damaged.onnx", tmp_path / "int8.onnx")
    damaged = quantize.measure(tmp_path / "int8.onnx", inputs, expected, likes)
    with pytest.raises(DataError, match=r"int8\.onnx reorders rows"):
        quantize.refuse_degraded("int8.onnx", damaged, BOUNDS)


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("rank_correlation", 0.98, "--min-rank-correlation"),
        ("rank_correlation", float("nan"), "--min-rank-correlation"),
        ("auc_loss", 0.02, "--max-auc-loss"),
        ("auc_loss", float("nan"), "--max-auc-loss"),
        ("worst_abs_diff", 0.06, "--max-abs-diff"),
        ("worst_abs_diff", float("nan"), "--max-abs-diff"),
    ],
)
def test_each_bound_refuses_and_names_its_option(
    quality: QuantizationQuality, field: str, value: float, option: str
) -> None:
    worse = msgspec.structs.replace(quality, **{field: value})
    with pytest.raises(DataError, match=option):
        quantize.refuse_degraded("model.int8.onnx", worse, BOUNDS)


def test_rank_correlation_is_scipys() -> None:
    draw = np.random.default_rng(0)
    one = draw.integers(0, 20, 500).astype(float)
    other = one + draw.normal(size=500)
    expected = stats.spearmanr(one, other).statistic
    assert metrics.rank_correlation(one, other) == pytest.approx(expected, abs=1e-12)
    assert metrics.rank_correlation(one, -one) == pytest.approx(-1)
