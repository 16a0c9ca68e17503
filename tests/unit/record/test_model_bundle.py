"""The model bundle: what was written is read, or one error says why not."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from labctl.contract.errors import InputError, LabctlError, RecordError
from labctl.record.bundle import read_bundle, write_bundle

ARRAYS = {"file": np.arange(6, dtype=np.float32).reshape(2, 3), "block1/W": np.zeros((0, 2)), "n": np.array(3)}
DESCRIPTION = {"name": "digits", "blocks": [{"units": 3, "limit": 0.5}]}


def test_a_bundle_is_read_back(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model", ARRAYS, DESCRIPTION)
    arrays, description = read_bundle(tmp_path / "model")
    assert description == DESCRIPTION
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    with np.load(tmp_path / "model" / "model.npz") as plain:
        np.testing.assert_array_equal(plain["block1/W"], ARRAYS["block1/W"])


def test_a_bundle_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_bundle(tmp_path, ARRAYS, DESCRIPTION)
    write_bundle(tmp_path, {"W": np.ones(2)}, {"name": "new"})
    arrays, description = read_bundle(tmp_path)
    assert description == {"name": "new"}
    assert list(arrays) == ["W"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.npz"]


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_bundle(tmp_path / name, ARRAYS, DESCRIPTION)
    assert (tmp_path / "a" / "model.npz").read_bytes() == (tmp_path / "b" / "model.npz").read_bytes()
    assert (tmp_path / "a" / "model.json").read_bytes() == (tmp_path / "b" / "model.json").read_bytes()


def rewrite_json(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def put_arrays(folder: Path, data: bytes) -> None:
    (folder / "model.npz").write_bytes(data)
    rewrite_json(folder, sha256=hashlib.sha256(data).hexdigest())


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "model.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.npz").write_bytes(data)


def truncate(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def put_objects(folder: Path) -> None:
    np.savez(folder / "objects.npz", W=np.array([{"a": 1}], dtype=object))
    put_arrays(folder, (folder / "objects.npz").read_bytes())


DEFECTS: list[tuple[Callable[[Path], object], type[LabctlError], str]] = [
    (lambda folder: (folder / "model.json").unlink(), InputError, "model.json is missing"),
    (lambda folder: (folder / "model.npz").unlink(), InputError, "model.npz is missing"),
    (flip_a_byte, RecordError, "checksum differs"),
    (lambda folder: truncate(folder, "model.npz"), RecordError, "checksum differs"),
    (lambda folder: truncate(folder, "model.json"), RecordError, "model.json is damaged"),
    (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe"), RecordError, "model.json is damaged"),
    (lambda folder: (folder / "model.json").write_text("[]"), RecordError, "model.json is damaged"),
    (
        lambda folder: rewrite_json(folder, schema="labctl/model/2"),
        RecordError,
        "labctl/model/2.*reads 'labctl/model/1",
    ),
    (lambda folder: rewrite_json(folder, sha256=None), RecordError, "lacks 'sha256'"),
    (lambda folder: put_arrays(folder, b""), RecordError, "cannot be used"),
    (lambda folder: put_arrays(folder, b"PK\x03\x04 nothing"), RecordError, "cannot be used"),
    (put_objects, RecordError, "cannot be used"),
]


@pytest.mark.parametrize(("damage", "error", "message"), DEFECTS)
def test_every_defect_is_one_error(
    tmp_path: Path, damage: Callable[[Path], object], error: type[LabctlError], message: str
) -> None:
    write_bundle(tmp_path, ARRAYS, DESCRIPTION)
    damage(tmp_path)
    with pytest.raises(error, match=message):
        read_bundle(tmp_path)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        write_bundle(tmp_path / "model", {"W": np.array([None])}, {})
    with pytest.raises(TypeError):
        write_bundle(tmp_path / "model", ARRAYS, {"a": object()})
    assert not list(tmp_path.iterdir())
    (tmp_path / "model").write_text("a file")
    with pytest.raises(RecordError, match="cannot be written"):
        write_bundle(tmp_path / "model", ARRAYS, {})
