"""Exports of a pass log for other programs. Streamed: a run need not fit into memory."""

import csv
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError, RecordError
from labctl.contract.layer import ResponseValues, RowStatus
from labctl.record.json_text import to_json
from labctl.record.passes import RecordedPasses
from labctl.record.reader import LogReader

_SHORT_COLUMNS = (
    "id", "repeat", "step", "block", "purpose", "sample", "label", "layer", "state_id", "status", "time_s",
)  # fmt: skip


def export_hdf5(reader: LogReader, path: Path) -> None:
    """Write the run as HDF5, which MATLAB reads with `h5read`.

    `/passes/<layer>/block_<number>/` holds `drives` (n, n_in), `responses` (n, n_out; complex numbers as a compound of
    `r` and `i`) and columns (n,) named as in the pass log, for all passes, accepted (`status` 0) or not.
    `/steps`, `/events` and `/meta` hold the rest. MATLAB shows matrices transposed. Raises `InputError` when `path`
    exists or its folder does not, `RecordError` when a block changed its form within the run.
    """
    import h5py

    hdf5: Any = h5py
    with _appearing(path) as partial, reader.snapshot(), hdf5.File(partial, "w") as file:
        meta = reader.meta()
        for key, value in meta.items():
            file[f"meta/{key}"] = to_json(value)
        for block in reader.blocks():
            for part in reader.passes(block=block):
                _append_passes(file, f"passes/{part.layers[0]}/block_{block}", part, meta)
        _write_steps(file.create_group("steps"), reader)
        events = reader.events()
        file["events/time_s"] = [event.time_s for event in events]
        file["events/kind"] = [event.kind for event in events]
        file["events/detail"] = [to_json(event.detail) for event in events]


def export_csv(reader: LogReader, folder: Path) -> None:
    """Write the run as `passes.csv`, `steps.csv` and `events.csv` in a new folder.

    Numbers are written with all their digits, one column per channel (`drive_0`, …, `response_0`, …), complex ones as
    `1.5-2j`; a block with fewer channels than another leaves the last columns empty. Raises `InputError` when `folder`
    exists or its parent does not.
    """
    with _appearing(folder) as partial, reader.snapshot():
        partial.mkdir()
        _write_table(partial / "passes.csv", *_pass_table(reader))
        steps = reader.steps()
        metrics = list(dict.fromkeys(name for step in steps for name in step.metrics))
        step_rows = ([s.step, s.epoch, s.time_s, *(s.metrics.get(name, "") for name in metrics)] for s in steps)
        _write_table(partial / "steps.csv", ["step", "epoch", "time_s", *metrics], step_rows)
        event_rows = ([event.time_s, event.kind, to_json(event.detail)] for event in reader.events())
        _write_table(partial / "events.csv", ["time_s", "kind", "detail"], event_rows)


@contextmanager
def _appearing(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` when all went well."""
    if path.exists():
        raise InputError(f"{path} exists already: choose another name or remove it")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist")
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        yield partial
        partial.rename(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}") from error
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _append_passes(file: Any, name: str, part: RecordedPasses, meta: Mapping[str, Any]) -> None:
    columns: dict[str, NDArray[Any]] = {
        "id": part.ids,
        "repeat": part.repeats,
        "step": part.steps,
        "purpose": part.purposes,
        "sample": part.samples,
        "label": part.labels,
        "state_id": part.state_ids,
        "status": part.status,
        "time_s": part.time_s,
        "drives": part.drives,
        "responses": part.values,
    }
    if name not in file:
        group = file.create_group(name)
        _create_datasets(group, columns)
        channels = meta.get("layers", {}).get(str(part.layers[0]), {})
        _name_channels(group["drives"], channels.get("inputs", []))
        _name_channels(group["responses"], channels.get("outputs", []))
    for column, values in columns.items():
        dataset = file[name][column]
        is_text = values.dtype.kind == "U"
        if dataset.shape[1:] != values.shape[1:] or not (is_text or dataset.dtype == values.dtype):
            raise RecordError(f"{name} changes the form of its {column} within the run: export it as CSV")
        n_before = len(dataset)
        dataset.resize(n_before + len(values), axis=0)
        dataset[n_before:] = values.astype(object) if is_text else values


def _create_datasets(group: Any, columns: Mapping[str, NDArray[Any]]) -> None:
    import h5py

    hdf5: Any = h5py
    for column, values in columns.items():
        dtype = hdf5.string_dtype() if values.dtype.kind == "U" else values.dtype
        width = values.shape[1:]
        group.create_dataset(column, shape=(0, *width), maxshape=(None, *width), dtype=dtype)


def _name_channels(dataset: Any, channels: Sequence[Mapping[str, Any]]) -> None:
    """Note names and units, unless the block uses other channels than the layer as a whole."""
    if len(channels) == dataset.shape[1]:
        dataset.attrs["channels"] = [channel["name"] for channel in channels]
        dataset.attrs["units"] = [channel["unit"] for channel in channels]


def _write_steps(group: Any, reader: LogReader) -> None:
    steps = reader.steps()
    group["step"] = np.array([step.step for step in steps], dtype=np.int64)
    group["epoch"] = np.array([step.epoch for step in steps], dtype=np.int64)
    group["time_s"] = np.array([step.time_s for step in steps], dtype=np.float64)
    for name in dict.fromkeys(name for step in steps for name in step.metrics):
        group[f"metrics/{name}"] = np.array([step.metrics.get(name, np.nan) for step in steps], dtype=np.float64)


def _pass_table(reader: LogReader) -> tuple[list[str], Iterator[list[Any]]]:
    states = reader.states()
    n_inputs = max((state.n_inputs for state in states), default=0)
    n_outputs = max((state.n_outputs for state in states), default=0)
    header = [*_SHORT_COLUMNS, *_numbered("drive", n_inputs), *_numbered("response", n_outputs)]
    return header, (row for part in reader.passes() for row in _pass_rows(part, n_inputs, n_outputs))


def _numbered(name: str, n: int) -> list[str]:
    return [f"{name}_{channel}" for channel in range(n)]


def _pass_rows(part: RecordedPasses, n_inputs: int, n_outputs: int) -> Iterator[list[Any]]:
    no_drive = [""] * (n_inputs - part.drives.shape[1])
    no_response = [""] * (n_outputs - part.values.shape[1])
    statuses = [RowStatus(status).name.lower() for status in part.status]
    short = (
        part.ids, part.repeats, part.steps, part.blocks, part.purposes, part.samples, part.labels, part.layers,
        part.state_ids,
    )  # fmt: skip
    columns = zip(*(column.tolist() for column in short), statuses, part.time_s.tolist(), strict=True)
    for row, drive, response in zip(columns, _digits(part.drives), _digits(part.values), strict=True):
        yield [*row, *drive, *no_drive, *response, *no_response]


def _digits(values: ResponseValues) -> Iterator[list[Any]]:
    """Yield each row as what the csv module writes with exactly the digits its number type needs."""
    formats = {"float32": "%.9g", "complex64": "%.9g%+.9gj", "complex128": "%.17g%+.17gj"}
    if values.dtype.name not in formats:
        yield from values.tolist()
        return
    row_format = " ".join([formats[values.dtype.name]] * values.shape[1])
    is_complex = values.dtype.kind == "c"
    numbers = values.view(f"f{values.dtype.itemsize // 2}") if is_complex else values  # real and imaginary in turn
    for row in numbers.tolist():
        yield (row_format % tuple(row)).split(" ")


def _write_table(path: Path, header: Sequence[str], rows: Iterator[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)
