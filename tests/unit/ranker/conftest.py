"""A small generated data set that the ranker's tests share."""

import pytest

from marloft.ranker.movielens import RawData
from marloft.ranker.synthetic import SyntheticSpec, generate


@pytest.fixture(scope="session")
def small_data() -> RawData:
    return generate(SyntheticSpec(users=60, items=50, ratings=2_000))
