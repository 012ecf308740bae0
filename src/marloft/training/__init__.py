"""The parts of a training run: configuration, processes, batches, checkpoints, metrics."""
