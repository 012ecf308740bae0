"""What runs inside a TorchServe worker; user code derives from `Handler`."""

from marloft.contract.answers import (
    Classification,
    Embedding,
    Objects,
    Prediction,
    Ranking,
    Regression,
    rank,
)
from marloft.serving.handler import Handler
from marloft.serving.intake import Rejected, Request
from marloft.serving.loaded_archive import LoadedArchive

__all__ = [
    "Classification",
    "Embedding",
    "Handler",
    "LoadedArchive",
    "Objects",
    "Prediction",
    "Ranking",
    "Regression",
    "Rejected",
    "Request",
    "rank",
]
