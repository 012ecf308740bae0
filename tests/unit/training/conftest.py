"""A process group of this one process, and a small configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.training.config import TrainConfig, read_config
from marloft.training.parallel import Workers, process_group

CONFIG = Path(__file__).parents[3] / "training" / "config.yaml"


@pytest.fixture
def config() -> TrainConfig:
    return read_config(CONFIG, ["model.embedding_dim=4", "model.hidden=[8]"])


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with process_group("cpu") as workers:
        yield workers
