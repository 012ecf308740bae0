"""The prediction and outcome logs as tables."""
