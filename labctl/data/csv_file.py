"""Tables in comma-separated UTF-8 text with one header line.

Blanks around a cell and blank lines mean nothing. Every message names the file, the line and the column.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.data_file import absent, read_data_file
from labctl.data.dataset import Dataset, Place, build_dataset
from labctl.data.labels import number_texts

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The cells of a file: `rows` of texts, each with the line of the file it begins on."""

    file: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]

    def texts(self, column: str) -> list[str]:
        """Return a column as it is written; raises `InputError` for an empty cell."""
        index = self._index(column)
        texts = [row[index] for row in self.rows]
        if "" in texts:
            raise InputError(f"{self._at(texts.index(''), column)}: is empty")
        return texts

    def numbers(self, columns: Sequence[str], hint: str = "") -> NDArray[np.float64]:
        """Return columns as (n, len(columns)); raises `InputError` with `hint` for a cell that is no number."""
        indices = [self._index(column) for column in columns]
        numbers = np.empty((len(self.rows), len(columns)))
        for i, row in enumerate(self.rows):
            cells = [row[index] for index in indices]
            are_numbers = [_NUMBER.fullmatch(cell) is not None for cell in cells]
            if not all(are_numbers):
                j = are_numbers.index(False)
                raise InputError(f'{self._at(i, columns[j])}: "{cells[j]}" is not a number{hint}')
            numbers[i] = [float(cell) for cell in cells]
        return numbers

    def place(self, features: Sequence[str], label: str) -> Place:
        """Return what names the line and column of a value."""
        return lambda row, column: self._at(row, label if column is None else features[column])

    def _index(self, column: str) -> int:
        if column not in self.columns:
            raise InputError(f"{self.file}: has no column {absent(column, self.columns)}")
        return self.columns.index(column)

    def _at(self, row: int, column: str) -> str:
        return f'{self.file}:{self.lines[row]}: column "{column}"'


def load_csv(path: Path, label: str, features: Sequence[str] | None = None, group: str | None = None) -> Dataset:
    """Return the dataset of a table.

    `label` names the column of class names or numbers, `features` those of the features (None: every other column),
    `group` that of what must not be split. Raises `InputError`.
    """
    table = read_csv_table(path)
    others = [column for column in table.columns if column not in (label, group)]
    chosen = others if features is None else list(features)
    for column in chosen:
        if column in (label, group) or chosen.count(column) > 1:
            raise InputError(f'{table.file}: column "{column}" cannot be used twice')
    labels, class_names = number_texts(table.texts(label))
    groups = None if group is None else number_texts(table.texts(group))[0]
    hint = "; to leave the column out, name those to use under 'features'" if features is None else ""
    return build_dataset(
        table.file,
        table.numbers(chosen, hint),
        labels,
        class_names,
        place=table.place(chosen, label),
        feature_names=chosen,
        groups=groups,
    )


def read_csv_table(path: Path) -> CsvTable:
    """Return the cells of a file whose header and line lengths are in order; raises `InputError`."""
    records = _records(path.name, _text(path))
    if not records:
        raise InputError(f"{path.name}: is empty; expected a header line")
    (header_line, columns), body = records[0], records[1:]
    _check_header(f"{path.name}:{header_line}", columns)
    for line, cells in body:
        if len(cells) != len(columns):
            raise InputError(f"{path.name}:{line}: has {len(cells)} cells, the header has {len(columns)}")
    return CsvTable(path.name, tuple(columns), [cells for _, cells in body], [line for line, _ in body])


def _text(path: Path) -> str:
    content = read_data_file(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path.name}:{line}: byte 0x{content[error.start]:02x} is not UTF-8 text") from None


def _records(file: str, text: str) -> list[tuple[int, list[str]]]:
    """Return (line, cells) of every line that is not blank; a quoted cell may run over several lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if cells:
                records.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{file}:{line}: {error}") from None
    return records


def _check_header(where: str, columns: list[str]) -> None:
    if all(_NUMBER.fullmatch(column) for column in columns):
        raise InputError(f"{where}: is not a header line: it holds numbers alone")
    for index, column in enumerate(columns):
        if not column:
            raise InputError(f"{where}: column {index + 1} has no name")
        if column in columns[:index]:
            raise InputError(f'{where}: column "{column}" appears twice')
