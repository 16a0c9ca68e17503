from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.contract.errors import InputError
from labctl.data.samples import read_samples

NAMES = ("F1", "F2")


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "new.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def npz_file(folder: Path, **arrays: Any) -> Path:
    path = folder / "new.npz"
    np.savez(path, **arrays)
    return path


def message_of(path: Path, names: tuple[str, ...] = NAMES) -> str:
    with pytest.raises(InputError) as caught:
        read_samples(path, 2, names, ignore={"vowel"})
    return str(caught.value)


def test_columns_are_matched_by_name(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "F2,vowel,F1\n1,ae,2\n3,,4\n")
    assert read_samples(path, 2, NAMES, ignore={"vowel"}).tolist() == [[2, 1], [4, 3]]


def test_arrays_are_matched_by_position(tmp_path: Path) -> None:
    path = npz_file(tmp_path, x=np.array([[1, 2]], dtype=np.uint8))
    samples = read_samples(path, 2, NAMES)
    assert samples.dtype == np.uint8
    assert samples.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("F2,G1\n1,2\n", 'new.csv: has no column "F1"; it has: F2, G1'),
        (
            "F1,F2,F3,token\n1,2,3,4\n",
            "new.csv: the training data had no column F3, token; remove it, or name it with --ignore",
        ),
        ("F1,F2\n", "new.csv: has no rows"),
        ("F1,F2\n1,x\n", 'new.csv:2: column "F2": "x" is not a number'),
        ("F1,F2\n1,2\n\nnan,2\n", 'new.csv:4: column "F1": is NaN; 1 such value(s) in all'),
    ],
)
def test_each_fault_of_a_table_has_one_message(tmp_path: Path, text: str, message: str) -> None:
    assert message_of(csv_file(tmp_path, text)) == message


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.ones((1, 2))}, 'new.npz: has no array "x"; it has: y'),
        ({"x": np.ones((1, 3))}, "new.npz: x has 3 features, the training data had 2"),
        ({"x": np.ones(2)}, "new.npz: features have shape (2,), not (samples, features)"),
        ({"x": np.array([[1, np.inf]])}, "new.npz: x[0, 1]: is infinite; 1 such value(s) in all"),
    ],
)
def test_each_fault_of_an_array_has_one_message(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    assert message_of(npz_file(tmp_path, **arrays)) == message


def test_a_table_cannot_be_matched_to_features_without_names(tmp_path: Path) -> None:
    assert message_of(csv_file(tmp_path, "F1,F2\n1,2\n"), names=()) == (
        "new.csv: the training data named no features; give samples as array x of an npz file"
    )


def test_other_formats_and_missing_files_are_named(tmp_path: Path) -> None:
    assert message_of(tmp_path / "new.xlsx") == f"{tmp_path / 'new.xlsx'}: samples come as .csv or .npz"
    assert message_of(tmp_path / "new.csv") == f"{tmp_path / 'new.csv'}: no such data file"


@given(content=st.binary(), suffix=st.sampled_from([".csv", ".npz"]))
def test_arbitrary_bytes_are_refused(scratch: Path, content: bytes, suffix: str) -> None:
    path = scratch / f"new{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_samples(path, 2, NAMES)
