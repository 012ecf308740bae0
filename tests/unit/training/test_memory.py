"""Memory figures."""

import numpy as np

from marloft.training import memory
from marloft.training.parallel import Workers


def test_measure_sees_what_the_process_takes_on_the_cpu(alone: Workers) -> None:
    memory.start_measuring(alone)
    before, kind = memory.measure(alone)
    taken = np.ones(100 * 2**20, dtype=np.uint8)
    after, _ = memory.measure(alone)
    assert kind == "host_resident"
    assert 90 < after - before < 200
    assert taken[-1] == 1
