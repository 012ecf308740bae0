"""The metrics log."""

from pathlib import Path

from marloft.training.track import EpochMetrics, MetricsLog, read_metrics


def line(epoch: int) -> EpochMetrics:
    return EpochMetrics(epoch=epoch, train_loss=0.6, valid_auc=0.7, valid_log_loss=0.5, seconds=1.0)


def test_metrics_are_read_as_written(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", finished_epochs=0)
    log.append(line(1))
    log.append(line(2))
    assert read_metrics(tmp_path / "metrics.jsonl") == [line(1), line(2)]


def test_a_resumed_log_drops_the_epochs_that_will_be_repeated(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", finished_epochs=0)
    for epoch in (1, 2, 3):
        log.append(line(epoch))
    MetricsLog(tmp_path / "metrics.jsonl", finished_epochs=2).append(line(3))
    assert [m.epoch for m in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]


def test_a_new_run_starts_an_empty_log(tmp_path: Path) -> None:
    MetricsLog(tmp_path / "metrics.jsonl", finished_epochs=0).append(line(1))
    MetricsLog(tmp_path / "metrics.jsonl", finished_epochs=0)
    assert read_metrics(tmp_path / "metrics.jsonl") == []
