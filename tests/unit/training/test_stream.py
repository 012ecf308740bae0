"""Batches are the same on any number of processes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marloft.training.parallel import Workers
from marloft.training.stream import Batch, TrainingRows, predict


def rows_of(
    workers: Workers, rank: int, world_size: int, accumulation_steps: int = 1
) -> TrainingRows:
    seat = replace(workers, rank=rank, world_size=world_size)
    inputs = {"user": np.arange(1, 24), "item": np.arange(23, 0, -1)}
    return TrainingRows(
        inputs,
        np.arange(23) % 2,
        batch_size=5,
        workers=seat,
        accumulation_steps=accumulation_steps,
    )


def epoch(workers: Workers, rank: int, world_size: int) -> list[Batch]:
    return list(rows_of(workers, rank, world_size).shuffled((0, 1), ("user",), 0.3))


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_the_processes_together_see_what_one_process_sees(alone: Workers, world_size: int) -> None:
    whole = epoch(alone, 0, 1)
    shares = [epoch(alone, rank, world_size) for rank in range(world_size)]
    for step, batch in enumerate(whole):
        joined = [row for share in shares for row in pairs(share[step])]
        assert sorted(joined) == sorted(pairs(batch))
        assert all(share[step].step_rows == len(batch.positions) for share in shares)


def test_an_uneven_last_batch_leaves_some_processes_without_rows(alone: Workers) -> None:
    last = [epoch(alone, rank, 7)[-1] for rank in range(7)]
    assert [len(batch.positions) for batch in last] == [1, 1, 1, 0, 0, 0, 0]
    assert {batch.step_rows for batch in last} == {3}


def test_a_step_is_accumulated_batches_and_counts_all_their_rows(alone: Workers) -> None:
    steps = list(rows_of(alone, 0, 1, accumulation_steps=2).shuffled((0, 1), (), 0.0))
    assert [len(batch.positions) for batch in steps] == [5, 5, 5, 5, 3]
    assert [batch.step_rows for batch in steps] == [10, 10, 10, 10, 3]
    assert [batch.ends_step for batch in steps] == [False, True, False, True, True]


def test_skipped_steps_leave_the_rest_as_it_was(alone: Workers) -> None:
    rows = rows_of(alone, 0, 1, accumulation_steps=2)
    whole = list(rows.shuffled((0, 1), ("user",), 0.3))
    rest = list(rows.shuffled((0, 1), ("user",), 0.3, skip_steps=1))
    assert [pairs(batch) for batch in rest] == [pairs(batch) for batch in whole[2:]]


def test_an_epoch_visits_every_row_once(alone: Workers) -> None:
    seen = np.concatenate([batch.positions for batch in epoch(alone, 0, 1)])
    assert sorted(seen) == list(range(23))


def test_another_epoch_has_another_order(alone: Workers) -> None:
    rows = rows_of(alone, 0, 1)
    first, second = (next(rows.shuffled((0, e), (), 0.0)).positions for e in (1, 2))
    assert first.tolist() != second.tolist()


def test_masking_hides_the_named_input_at_the_rate(alone: Workers) -> None:
    rows = TrainingRows(
        {"user": np.ones(20_000), "item": np.ones(20_000)},
        np.zeros(20_000),
        batch_size=20_000,
        workers=alone,
    )
    batch = next(rows.shuffled((0, 1), ("user",), 0.1))
    assert float((batch.inputs["user"] == 0).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert bool((batch.inputs["item"] == 1).all())


def test_predict_returns_outputs_in_row_order(alone: Workers) -> None:
    class Difference(nn.Module):
        def forward(self, user: Tensor, item: Tensor) -> Tensor:
            return (user - item).to(torch.float32)

    expected = np.arange(1, 24) - np.arange(23, 0, -1)
    assert predict(Difference(), rows_of(alone, 0, 1)).tolist() == expected.tolist()


def pairs(batch: Batch) -> list[tuple[int, int, float]]:
    columns = (batch.inputs["user"], batch.inputs["item"], batch.labels)
    return list(zip(*(column.tolist() for column in columns), strict=True))
