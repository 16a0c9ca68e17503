"""What is made of a picture now is what was made of it then, whatever camera it came from."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labctl_drivers.layers.optical_readout import OpticalReadout
from labctl_drivers.layers.optical_settings import OpticalSettings

from labctl.contract.errors import SettingError
from labctl.contract.layer import RowStatus


def readout(bits: int, **changes: Any) -> OpticalReadout:
    settings: dict[str, Any] = {
        "modulator": "slm",
        "camera": "camera",
        "light": "shutter",
        "modulation": {"kind": "amplitude"},
        "inputs": {"rows": 2, "columns": 2},
        "outputs": {"rows": 2, "columns": 3},
        **changes,
    }
    return OpticalReadout(OpticalSettings.model_validate(settings), (9, 13), bits, "camera")


@given(bits=st.sampled_from([8, 10, 12, 16]), frames=st.sampled_from([None, 1, 4, 1000]), seed=st.integers(0, 99))
def test_to_the_bit(bits: int, frames: int | None, seed: int) -> None:
    dark_settings = None if frames is None else {"every": "1 s", "frames": frames}
    read_out = readout(bits, dark=dark_settings, max_saturated=0.1)
    rng, n = np.random.default_rng(seed), 4
    raw = np.zeros(n, read_out.raw_dtype)
    raw["picture"] = pictures = rng.integers(0, 2**bits, (n, 9, 13))
    total = rng.integers(0, (frames or 1) * (2**bits - 1) + 1, (9, 13)).astype(np.uint32)
    if frames is not None:
        raw["dark"] = total
    raw["fault"][1:3] = RowStatus.FAILED, RowStatus.STALE
    raw[3]["picture"][:] = 2**bits - 1
    values, status = read_out.read_again(raw)
    assert status.tolist() == [
        read_out.status(raw[0]["picture"]),
        RowStatus.FAILED,
        RowStatus.STALE,
        RowStatus.OVERLOAD,
    ]
    image = pictures[0].astype(np.uint8 if bits == 8 else np.uint16)
    dark = None if frames is None else read_out.dark_blocks(total)
    np.testing.assert_array_equal(values[0], read_out.values(image, read_out.blocks(image), dark))
    sharp = image[:, :12].astype(np.float64)[0:8].reshape(2, 4, 3, 4).mean(axis=(1, 3)).reshape(-1)
    seen = 0.0 if frames is None else total[:8, :12].astype(np.float64).reshape(2, 4, 3, 4).mean(axis=(1, 3)) / frames
    np.testing.assert_allclose(values[0], sharp - np.ravel(seen), atol=2.0 ** (bits - 21))
    assert not values[1].any()


@pytest.mark.parametrize(
    ("bits", "frames", "kinds"),
    [(8, None, ["u1"]), (8, 4, ["u1", "<u2"]), (12, 4, ["<u2", "<u2"]), (16, 2, ["<u2", "<u4"])],
)
def test_counts_are_kept_as_small_as_they_are(bits: int, frames: int | None, kinds: list[str]) -> None:
    dtype = readout(bits, dark=None if frames is None else {"every": "1 s", "frames": frames}).raw_dtype
    assert [dtype[name].base for name in ("picture", "dark") if name in (dtype.names or ())] == [
        np.dtype(kind) for kind in kinds
    ]
    assert dtype.itemsize == 1 + 9 * 13 * sum(np.dtype(kind).itemsize for kind in kinds)


def test_single_pixels_stay_counts() -> None:
    one = {"outputs": {"rows": 9, "columns": 13}}
    assert [readout(bits, **one).response_dtype for bits in (8, 12)] == ["uint8", "uint16"]
    assert readout(8, **one, dark={"every": "1 s"}).response_dtype == "float32"
    assert readout(8).response_dtype == "float32"


def test_blocks_beside_the_picture_are_refused() -> None:
    outside = {"rows": 2, "columns": 2, "pixels": 5, "left": 5, "top": 0}
    with pytest.raises(SettingError, match="they reach to row 10, column 15; 'camera' has 9 and 13") as refused:
        readout(8, outputs=outside)
    assert refused.value.at == ("outputs",)
