"""What the tests of the record share."""

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labctl.record.passes import PassRows

MakeRows = Callable[..., PassRows]


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    """Passes whose drives and responses follow from their ids."""

    def make(first_id: int, n: int, *, n_in: int = 3, n_out: int = 2, dtype: str = "f4", **changes: Any) -> PassRows:
        ids = np.arange(first_id, first_id + n, dtype=np.int64)
        fields: dict[str, Any] = {
            "ids": ids,
            "repeat": 0,
            "step": first_id,
            "block": 1,
            "purpose": "train",
            "samples": ids + 1000,
            "labels": ids % 10,
            "layer": "cavity",
            "state_id": "s0",
            "status": np.zeros(n, dtype=np.uint8),
            "time_s": 1.7e9 + 0.25 * ids,
            "drives": (ids[:, None] + np.arange(n_in) / 8).astype(np.float32),
            "responses": (ids[:, None] * 2 + np.arange(n_out)).astype(dtype),
        }
        return PassRows(**(fields | changes))

    return make


@pytest.fixture
def read_only() -> Callable[[Path], AbstractContextManager[None]]:
    """Take the right to write to a folder away, from root as well, while a with block runs."""

    @contextmanager
    def protect(folder: Path) -> Generator[None]:
        user = os.geteuid()
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
            for path in folder.iterdir():
                path.chmod(0o644)

    return protect


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
