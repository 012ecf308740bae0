"""Batches that are the same rows in the same order on any number of processes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from marloft.training.parallel import Workers


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One process's share of one forward and backward pass.

    Attributes:
        inputs: the model's inputs, first axis = this process's rows (there may be none).
        labels: float32 of the same length.
        positions: int64, where each row stands in the data.
        step_rows: rows of the optimizer's step, over all its batches and processes.
        ends_step: whether this is the last batch of its step.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    positions: NDArray[np.int64]
    step_rows: int
    ends_step: bool


class TrainingRows:
    """Encoded rows in memory, distributed to the processes batch by batch.

    A batch is `batch_size` rows whatever the number of processes; process r of w takes every w-th
    of them from r on. `accumulation_steps` batches make one step of the optimizer. The last batch
    may be shorter, its shares uneven and the last step of fewer batches: the loss must be summed
    and divided by `step_rows`, never averaged per process or batch.
    """

    def __init__(
        self,
        inputs: Mapping[str, NDArray[Any]],
        labels: NDArray[Any],
        *,
        batch_size: int,
        workers: Workers,
        accumulation_steps: int = 1,
    ) -> None:
        """Keep the arrays; all of them have their rows on the first axis."""
        self._inputs = dict(inputs)
        self.labels = labels.astype(np.float32)
        self._batch_size = batch_size
        self._workers = workers
        self._accumulation_steps = accumulation_steps

    def in_order(self) -> Iterator[Batch]:
        """Yield all rows once, in the order in which they are stored."""
        yield from self._deal(np.arange(len(self.labels)), self._inputs)

    def shuffled(
        self, seed: Sequence[int], masked: Sequence[str], rate: float, *, skip_steps: int = 0
    ) -> Iterator[Batch]:
        """Yield all rows once in an order that depends on `seed` alone.

        Each input named in `masked` is set to 0, the unknown id, in a share `rate` of the rows.
        The first `skip_steps` steps are left out: a resumed epoch took them already.
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.labels))
        hidden = {
            name: np.where(rng.random(len(order)) < rate, 0, self._inputs[name]) for name in masked
        }
        yield from self._deal(order, {**self._inputs, **hidden}, skip_steps)

    def _deal(
        self, order: NDArray[np.int64], inputs: Mapping[str, NDArray[Any]], skip_steps: int = 0
    ) -> Iterator[Batch]:
        device = self._workers.device
        per_step = self._batch_size * self._accumulation_steps
        for first in range(skip_steps * per_step, len(order), per_step):
            step = order[first : first + per_step]
            for start in range(0, len(step), self._batch_size):
                rows = step[start : start + self._batch_size]
                mine = rows[self._workers.rank :: self._workers.world_size]
                yield Batch(
                    inputs={k: torch.from_numpy(v[mine]).to(device) for k, v in inputs.items()},
                    labels=torch.from_numpy(self.labels[mine]).to(device),
                    positions=mine,
                    step_rows=len(step),
                    ends_step=start + len(rows) == len(step),
                )


@torch.no_grad()
def predict(model: nn.Module, rows: TrainingRows) -> NDArray[np.float32]:
    """Return the sharded model's output for all rows, float32[n], the same in every process.

    The model maps the inputs, by name, to one float32 per row, whatever it computes in.
    """
    model.eval()
    mine = [(batch.positions, model(**batch.inputs).cpu().numpy()) for batch in rows.in_order()]
    shares: list[list[tuple[NDArray[np.int64], NDArray[np.float32]]]]
    shares = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(shares, mine)
    output = np.empty(len(rows.labels), dtype=np.float32)
    for positions, values in (pair for share in shares for pair in share):
        output[positions] = values
    return output
