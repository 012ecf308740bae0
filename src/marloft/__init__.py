"""marloft: from a trained PyTorch model to an A/B-tested, monitored TorchServe endpoint."""

__version__ = "0.1.0"
