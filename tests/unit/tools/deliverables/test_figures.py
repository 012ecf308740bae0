"""The figures of one run: pictures, and the same bytes for the same numbers."""

from tools.deliverables.figures import latency_figure, training_figure

EPOCHS = [
    {"epoch": n, "train_loss": 0.6 / n, "valid_log_loss": 0.7 / n, "valid_auc": 0.7 + n / 100}
    for n in (1, 2, 3)
]
ROWS = [
    {"artifact": name, "runtime": "onnx", "candidates": count, "p50_ms": 0.2, "p99_ms": 0.4}
    for name in ("model.onnx", "model.int8.onnx")
    for count in (1, 50)
]
PNG = b"\x89PNG\r\n\x1a\n"


def test_figures_are_pictures() -> None:
    assert training_figure(EPOCHS).startswith(PNG)
    assert latency_figure(ROWS).startswith(PNG)


def test_same_numbers_draw_the_same_bytes() -> None:
    assert training_figure(EPOCHS) == training_figure(EPOCHS)
    assert training_figure(EPOCHS) != training_figure(EPOCHS[:2])


def test_latency_is_drawn_for_50_candidates_alone() -> None:
    only_50 = [row for row in ROWS if row["candidates"] == 50]
    assert latency_figure(ROWS) == latency_figure(only_50)
