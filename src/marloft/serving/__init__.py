"""What runs inside a TorchServe worker; user code derives from `Handler`."""

from marloft.serving.handler import Handler
from marloft.serving.intake import Rejected, Request
from marloft.serving.loaded_archive import LoadedArchive
from marloft.serving.prediction import Prediction, rank

__all__ = ["Handler", "LoadedArchive", "Prediction", "Rejected", "Request", "rank"]
