"""A finished run is loaded with the data it was trained on, and with no other."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from harness.factories import REPOSITORY
from marloft.errors import DataError
from marloft.files import sha256_file, write_json
from marloft.ranker import prepare
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import Ranker, score, table_sizes
from marloft.ranker.movielens import RawData
from marloft.ranker.runs import load_run
from marloft.training.checkpoint import RESULT, WEIGHTS
from marloft.training.config import read_config
from marloft.training.track import RunResult

pytestmark = pytest.mark.slow


@pytest.fixture
def run(small_data: RawData, tmp_path: Path) -> Path:
    """A run that ended before its first step, on prepared data."""
    data, folder = tmp_path / "data", tmp_path / "run"
    dataset = prepare.prepare(small_data, data, name="synthetic", split_seed=2020)
    config = read_config(REPOSITORY / "training" / "config.yaml", [f"data.folder={data}"])
    torch.manual_seed(0)
    model = Ranker(config.model, table_sizes(FeatureTables.load(data / prepare.TABLES)))
    folder.mkdir()
    torch.save(model.state_dict(), folder / WEIGHTS)
    result = RunResult(
        valid_auc=0.5,
        valid_log_loss=0.7,
        test_auc=0.5,
        test_accuracy=0.5,
        test_log_loss=0.7,
        world_size=1,
        threads=1,
        seconds=0.1,
        epochs=0,
        best_epoch=0,
        seed=0,
        config=config,
        data=dataset.files,
        weights_sha256=sha256_file(folder / WEIGHTS),
    )
    write_json(folder / RESULT, result)
    return folder


def test_run_comes_with_its_own_split(run: Path) -> None:
    loaded = load_run(run)
    inputs, likes = loaded.part("test")
    wanted = prepare.read_part(
        Path(loaded.result.config.data.folder), loaded.result.config.data.split, "test"
    )
    assert likes.tolist() == wanted["like"].to_list()
    probabilities = score(loaded.model, inputs)
    assert probabilities.shape == likes.shape
    assert np.all((probabilities > 0) & (probabilities < 1))


def test_other_weights_are_refused(run: Path) -> None:
    with (run / WEIGHTS).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(DataError, match=r"is not the file that result\.json describes; train"):
        load_run(run)


def test_data_that_was_prepared_again_is_refused(run: Path) -> None:
    data = run.parent / "data"
    dataset = prepare.read_dataset(data)
    changed = {**dataset.files, prepare.RATINGS: "0" * 64}
    write_json(data / prepare.DATASET, msgspec.structs.replace(dataset, files=changed))
    with pytest.raises(DataError, match="no test row was a training row"):
        load_run(run)
