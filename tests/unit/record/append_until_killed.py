"""A process that appends passes and says which are durable, until it is killed or the disk is full.

Arguments: path, passes per chunk, chunks per flush, largest file size in bytes or 0.
"""

import resource
import sys
from itertools import count
from pathlib import Path

import numpy as np

from labctl.contract.errors import RecordError
from labctl.record.passes import PassRows
from labctl.record.writer import PassLog


def chunk(step: int, n: int) -> PassRows:
    ids = np.arange(step * n, (step + 1) * n, dtype=np.int64)
    values = (ids[:, None] + np.arange(40)).astype(np.float32)
    return PassRows(
        ids=ids,
        repeat=0,
        step=step,
        block=0,
        purpose="train",
        samples=ids,
        labels=ids % 10,
        layer="cavity",
        state_id="s0",
        status=np.zeros(n, dtype=np.uint8),
        time_s=ids.astype(np.float64),
        drives=values,
        responses=values,
    )


def main(path: Path, n_rows: int, n_chunks: int, largest_file: int) -> None:
    log = PassLog.create(path, {}, commit_every_s=0.01)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    try:
        for step in count():
            log.append(chunk(step, n_rows))
            log.append_step(step, 0, {"loss": 1.0})
            if step % n_chunks == n_chunks - 1:
                log.flush()
                print(step, flush=True)
    except RecordError as error:
        print(f"append: {error}", flush=True)
    for name in ("flush", "close"):
        try:
            getattr(log, name)()
        except RecordError as error:
            print(f"{name}: {error}", flush=True)
    log.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
