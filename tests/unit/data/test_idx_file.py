import contextlib
import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.idx_file import load_idx, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
IMAGES = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
LABELS = np.array([0, 1, 1, 0], dtype=np.uint8)


def encoded(array: NDArray[Any]) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def written(path: Path, content: bytes | NDArray[Any]) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else encoded(content))
    return path


def files(folder: Path, images: bytes | NDArray[Any] = IMAGES, labels: bytes | NDArray[Any] = LABELS) -> list[Path]:
    return [written(folder / "images", images), written(folder / "labels", labels)]


def message_of(*paths: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_idx(*paths)
    return str(caught.value)


def test_images_are_flattened_and_never_scaled(tmp_path: Path) -> None:
    dataset = load_idx(*files(tmp_path))
    assert dataset.features.dtype == np.uint8
    np.testing.assert_array_equal(dataset.features, IMAGES.reshape(4, 6))
    assert dataset.labels.tolist() == [0, 1, 1, 0]
    assert dataset.class_names == ("0", "1")
    assert dataset.official_test is None


def test_compression_does_not_change_the_dataset(tmp_path: Path) -> None:
    plain = load_idx(*files(tmp_path))
    packed = load_idx(*files(tmp_path, gzip.compress(encoded(IMAGES)), gzip.compress(encoded(LABELS))))
    assert packed.fingerprint == plain.fingerprint


def test_test_files_become_the_official_test_part(tmp_path: Path) -> None:
    images, labels = files(tmp_path)
    dataset = load_idx(images, labels, written(tmp_path / "ti", IMAGES[:3]), written(tmp_path / "tl", LABELS[:3]))
    assert len(dataset.features) == 7
    assert dataset.official_test is not None
    assert dataset.official_test.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"", LABELS, "images: is not an IDX file: it begins with nothing"),
        (b"\x89PNG\r\n", LABELS, "images: is not an IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x07\3", LABELS, "images: is not an IDX file: it begins with 00 00 07 03"),
        (b"\0\0\x08\3\0\0", LABELS, "images: the header announces 3 dimension(s), which do not follow"),
        (b"\0\0\x08\0", LABELS, "images: the header announces 0 dimension(s), which do not follow"),
        (
            encoded(IMAGES)[:-1],
            LABELS,
            "images: the header announces 4 x 2 x 3 values in 24 bytes, but 23 follow",
        ),
        (
            encoded(IMAGES) + b"\0",
            LABELS,
            "images: the header announces 4 x 2 x 3 values in 24 bytes, but 25 follow",
        ),
        (IMAGES[:0], LABELS, "images: holds no values: its dimensions are 0 x 2 x 3"),
        (LABELS, LABELS, "images: has 1 dimension(s); images have at least 2"),
        (IMAGES, IMAGES, "labels: holds uint8 of shape (4, 2, 3); expected one integer per image"),
        (IMAGES, LABELS.astype(np.float32), "labels: holds float32 of shape (4,); expected one integer per image"),
        (IMAGES, LABELS[:3], "images: has 4 images but labels has 3 labels"),
        (
            IMAGES,
            LABELS + 1,
            "labels: label 1: label 2 is outside 0 to 1; class numbers start at 0 and leave no gap",
        ),
        (
            np.where(IMAGES == 20, np.nan, IMAGES),
            LABELS,
            "images: image 3, pixel 2: is NaN; 1 such value(s) in all",
        ),
    ],
)
def test_each_fault_has_one_message(
    tmp_path: Path, images: bytes | NDArray[Any], labels: bytes | NDArray[Any], message: str
) -> None:
    assert message_of(*files(tmp_path, images, labels)) == message


def test_damaged_compression_is_named(tmp_path: Path) -> None:
    packed = gzip.compress(encoded(IMAGES))
    wrong_sum = packed[:-8] + bytes(4) + packed[-4:]
    assert message_of(*files(tmp_path, wrong_sum)).startswith("images: the gzip data are damaged: CRC check failed")
    for length in range(2, len(packed)):
        assert message_of(*files(tmp_path, packed[:length])).startswith("images: the gzip data are damaged: ")


def test_faults_of_the_test_files_are_theirs(tmp_path: Path) -> None:
    images, labels = files(tmp_path)
    other_size = written(tmp_path / "ti", IMAGES[:, :1])
    test_labels = written(tmp_path / "tl", np.array([0, 1, 1, 9], dtype=np.uint8))
    test_images = written(tmp_path / "t2", IMAGES)
    assert message_of(images, labels, other_size, test_labels) == (
        "ti: images of 1 x 3 uint8 pixels, but images has 2 x 3 uint8 pixels"
    )
    assert message_of(images, labels, test_images, test_labels) == (
        "tl: label 3: label 9 is outside 0 to 2; class numbers start at 0 and leave no gap"
    )
    assert message_of(images, labels, test_images) == (
        "images: test images and test labels come as a pair; give both or neither"
    )


@pytest.mark.parametrize(
    ("folder", "per_class", "fingerprint"),
    [
        ("mnist", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], "b9469606a4e5b584"),
        ("fashion_mnist", [1000] * 10, "0b26da7d4d5ae91a"),
    ],
)
def test_the_real_files(real_data: Path, folder: str, per_class: list[int], fingerprint: str) -> None:
    names = [f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    dataset = load_idx(*(real_data / folder / name for name in names))
    assert dataset.features.shape == (70000, 784)
    assert dataset.official_test is not None
    assert np.bincount(dataset.labels[dataset.official_test]).tolist() == per_class
    assert dataset.fingerprint.startswith(fingerprint)


@given(
    array=hnp.arrays(
        st.sampled_from(sorted(CODES)), hnp.array_shapes(min_dims=1, max_dims=4), elements={"allow_nan": False}
    ),
    packed=st.booleans(),
)
def test_what_is_written_is_read(scratch: Path, array: NDArray[Any], packed: bool) -> None:
    content = gzip.compress(encoded(array)) if packed else encoded(array)
    read = read_idx(written(scratch / "array", content))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


headers = st.sampled_from(
    [b"", b"\0\0\x08\1", b"\0\0\x08\3", b"\0\0\x0d\2\0\0\0\1", b"\0\0\x08\xff", b"\x1f\x8b\x08\0"]
)


@given(head=headers, tail=st.binary(), packed=st.booleans())
def test_arbitrary_bytes_are_refused_or_read(scratch: Path, head: bytes, tail: bytes, packed: bool) -> None:
    content = gzip.compress(head + tail) if packed else head + tail
    with contextlib.suppress(InputError):
        assert read_idx(written(scratch / "array", content)).size >= 1


def test_cropped_images_are_the_middle(tmp_path: Path) -> None:
    images = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4)
    dataset = load_idx(*files(tmp_path, images, LABELS[:2]), crop=1)
    np.testing.assert_array_equal(dataset.features, images[:, 1:-1, 1:-1].reshape(2, 6))
    assert dataset.image_shape == (3, 2)


def test_a_crop_leaves_something(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="crop 1 leaves nothing of images of 2 x 3 pixels"):
        load_idx(*files(tmp_path), crop=1)
