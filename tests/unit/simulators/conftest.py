from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def _one_arithmetic_thread() -> Iterator[None]:
    """Pin BLAS as a run does: rounding depends on the number of threads."""
    with threadpool_limits(1):
        yield
