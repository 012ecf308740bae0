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
from marloft.serving.intake import Request
from marloft.serving.loaded_archive import LoadedArchive
from marloft.serving.refusals import Rejected

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
