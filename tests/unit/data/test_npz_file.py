import contextlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.contract.errors import InputError
from labctl.data.npz_file import load_npz

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 2, 1], dtype=np.uint8)


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "train.npz"
    np.savez_compressed(path, **arrays)
    return path


def message_of(path: Path, **names: str) -> str:
    with pytest.raises(InputError) as caught:
        load_npz(path, **names)
    return str(caught.value)


def test_reads_arrays_in_their_own_type(tmp_path: Path) -> None:
    dataset = load_npz(saved(tmp_path, x=X, y=Y, g=np.array(["b", "a", "b", "c"])), groups="g")
    assert dataset.features.dtype == np.float32
    np.testing.assert_array_equal(dataset.features, X)
    assert dataset.labels.dtype == np.int64
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.feature_names == ()
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [1, 0, 1, 2]


def test_text_labels_become_sorted_classes(tmp_path: Path) -> None:
    dataset = load_npz(saved(tmp_path, x=X, y=np.array(["uw", "ae", "ae", "ih"])))
    assert dataset.class_names == ("ae", "ih", "uw")
    assert dataset.labels.tolist() == [2, 0, 0, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X, "y": Y}, 'train.npz: has no array "x"; it has: X, y'),
        ({"x": X, "labels": Y}, 'train.npz: has no array "y"; it has: x, labels'),
        ({"x": X.tolist(), "y": Y.astype(object)}, "train.npz: y holds Python objects; save it as numbers or text"),
        ({"x": X, "y": Y[:3]}, "train.npz: 4 rows of features but labels of shape (3,)"),
        ({"x": X, "y": Y.astype(float)}, "train.npz: y: is float64; labels are integers from 0 on, or text"),
        ({"x": X, "y": Y[:, None]}, "train.npz: y: has shape (4, 1); expected one label per sample"),
        (
            {"x": X, "y": Y + 1},
            "train.npz: y[2]: label 3 is outside 0 to 2; class numbers start at 0 and leave no gap",
        ),
        (
            {"x": X, "y": np.array([0, 2**64 - 1, 1, 2], dtype=np.uint64)},
            "train.npz: y[1]: label 18446744073709551615 is outside 0 to 3; class numbers start at 0 and leave no gap",
        ),
        ({"x": X.reshape(4, 3, 1), "y": Y}, "train.npz: features have shape (4, 3, 1), not (samples, features)"),
        ({"x": np.where(X == 7, np.nan, X), "y": Y}, "train.npz: x[2, 1]: is NaN; 1 such value(s) in all"),
    ],
)
def test_each_fault_has_one_message(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    assert message_of(saved(tmp_path, **arrays)) == message


def test_a_misspelt_array_is_suggested(tmp_path: Path) -> None:
    path = saved(tmp_path, features=X, y=Y)
    assert message_of(path, features="feature") == (
        'train.npz: has no array "feature" (did you mean "features"?); it has: features, y'
    )


def test_groups_must_be_whole_numbers_or_text(tmp_path: Path) -> None:
    path = saved(tmp_path, x=X, y=Y, g=X[:, 0])
    assert message_of(path, groups="g") == (
        "train.npz: g: is float32 of shape (4,); groups are one integer or text per sample"
    )


def test_a_truncated_file_is_refused_at_every_length(tmp_path: Path) -> None:
    path = saved(tmp_path, x=X, y=Y)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert message_of(path).startswith("train.npz: is not an npz file, or is truncated: ")


def test_a_single_array_file_is_no_npz_file(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", X)
    path = (tmp_path / "train.npy").rename(tmp_path / "train.npz")
    assert message_of(path) == "train.npz: is not an npz file, or is truncated: File is not a zip file"


def test_a_damaged_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    np.savez(path, x=X, y=Y)
    content = path.read_bytes()
    at = content.index(X.tobytes())
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    assert message_of(path) == "train.npz: x is damaged: Bad CRC-32 for file 'x.npy'"


def test_an_array_that_announces_more_than_memory_is_refused(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000000), }\n"
    path = tmp_path / "train.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        archive.writestr("y.npy", b"")
    assert message_of(path).startswith("train.npz: x is damaged: ")


def test_an_unusual_compression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", b"anything")
        archive.writestr("y.npy", b"anything")
    assert message_of(path) == (
        "train.npz: x is damaged: NumPy neither stores arrays in this compression nor reads it here"
    )


@given(content=st.binary() | st.binary().map(b"PK\x03\x04".__add__))
def test_arbitrary_bytes_are_refused(scratch: Path, content: bytes) -> None:
    path = scratch / "train.npz"
    path.write_bytes(content)
    assert message_of(path).startswith("train.npz: ")


@given(data=st.data())
def test_changed_bytes_are_refused_or_read(scratch: Path, data: st.DataObject) -> None:
    path = scratch / "train.npz"
    np.savez(path, x=X, y=Y)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        assert load_npz(path).n_features == 3


@given(body=st.binary(max_size=200), shape=st.text("(),0123456789 ", max_size=20), descr=st.text(max_size=5))
def test_an_arbitrary_array_inside_a_sound_archive_is_refused(
    scratch: Path, body: bytes, shape: str, descr: str
) -> None:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    path = scratch / "train.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x03\x00" + len(header).to_bytes(4, "little") + header + body)
        archive.writestr("y.npy", body)
    assert message_of(path).startswith("train.npz: ")
