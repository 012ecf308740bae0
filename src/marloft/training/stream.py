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
    """One process's share of one step.

    Attributes:
        inputs: the model's inputs, first axis = this process's rows (there may be none).
        labels: float32 of the same length.
        positions: int64, where each row stands in the data.
        global_rows: rows of the step over all processes.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    positions: NDArray[np.int64]
    global_rows: int


class Rows:
    """Encoded rows in memory, dealt to the processes batch by batch.

    A step takes `batch_size` rows whatever the number of processes; process r of w takes every
    w-th of them from r on. The last batch may be shorter and its shares uneven: the loss must be
    summed and divided by `global_rows`, never averaged per process.
    """

    def __init__(
        self,
        inputs: Mapping[str, NDArray[Any]],
        labels: NDArray[Any],
        *,
        batch_size: int,
        workers: Workers,
    ) -> None:
        """Keep the arrays; all of them have their rows on the first axis."""
        self._inputs = dict(inputs)
        self.labels = labels.astype(np.float32)
        self._batch_size = batch_size
        self._workers = workers

    def in_order(self) -> Iterator[Batch]:
        """Yield all rows once, in the order in which they are stored."""
        yield from self._deal(np.arange(len(self.labels)), self._inputs)

    def shuffled(self, seed: Sequence[int], masked: Sequence[str], rate: float) -> Iterator[Batch]:
        """Yield all rows once in an order that depends on `seed` alone.

        Each input named in `masked` is set to 0, the unknown id, in a share `rate` of the rows.
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.labels))
        hidden = {
            name: np.where(rng.random(len(order)) < rate, 0, self._inputs[name]) for name in masked
        }
        yield from self._deal(order, {**self._inputs, **hidden})

    def _deal(
        self, order: NDArray[np.int64], inputs: Mapping[str, NDArray[Any]]
    ) -> Iterator[Batch]:
        device = self._workers.device
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            mine = rows[self._workers.rank :: self._workers.world_size]
            yield Batch(
                inputs={k: torch.from_numpy(v[mine]).to(device) for k, v in inputs.items()},
                labels=torch.from_numpy(self.labels[mine]).to(device),
                positions=mine,
                global_rows=len(rows),
            )


@torch.no_grad()
def predict(model: nn.Module, rows: Rows) -> NDArray[np.float32]:
    """Return the sharded model's output for all rows, float32[n], the same in every process.

    The model maps the inputs, by name, to one float32 per row.
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
