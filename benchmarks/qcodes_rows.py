"""Prints how many rows per second QCoDeS makes durable: run by an interpreter that has it, with a number of rows.

A row is a drive and a response of 80 numbers each; QCoDeS commits every 0.2 s, as labctl does.
"""

import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

VALUES = 80
COMMIT_EVERY_S = 0.2


def rows_per_s(rows: int, folder: Path) -> float:
    """Return the rows per second from the first to the commit of the last."""
    qcodes: Any = importlib.import_module("qcodes.dataset")
    qcodes.initialise_or_create_database_at(folder / "rows.db")
    measurement = qcodes.Measurement(exp=qcodes.load_or_create_experiment("benchmark", "sample"), name="rows")
    measurement.register_custom_parameter("drive", paramtype="array")
    measurement.register_custom_parameter("response", paramtype="array", setpoints=("drive",))
    measurement.write_period = COMMIT_EVERY_S
    drives, responses = np.random.default_rng(0).random((2, rows, VALUES), dtype=np.float32)
    with measurement.run() as saver:
        begin_s = time.perf_counter()
        for drive, response in zip(drives, responses, strict=True):
            saver.add_result(("drive", drive), ("response", response))
        saver.flush_data_to_database()
        return rows / (time.perf_counter() - begin_s)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[2]) as scratch:
        print(rows_per_s(int(sys.argv[1]), Path(scratch)))
