"""The metrics log."""

from pathlib import Path

from marloft.training.track import EpochMetrics, MetricsLog, describe, read_metrics


def line(epoch: int) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        train_loss=0.6,
        valid_auc=0.7,
        valid_accuracy=0.65,
        valid_log_loss=0.5,
        memory_mib=1234.5,
        memory_kind="host_resident",
        seconds=1.0,
    )


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


def test_a_new_run_starts_over_a_log_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"epoch":1,"loss":0.5}\n')
    MetricsLog(tmp_path / "metrics.jsonl", finished_epochs=0).append(line(1))
    assert read_metrics(tmp_path / "metrics.jsonl") == [line(1)]


def test_an_epoch_is_described_in_one_line() -> None:
    said = describe(line(3), 10, best=True)
    assert said == (
        "epoch   3/10  train loss 0.6000  valid AUC 0.7000  accuracy 0.6500  log loss 0.5000  "
        "1,234 MiB  1.0 s  best"
    )
