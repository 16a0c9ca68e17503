"""Shifted images: every offset as likely, nothing wraps around, and only what can be shifted is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.contract.errors import InputError
from labctl.data.shifts import Shifts, make_shifts


@given(rows=st.integers(3, 9), columns=st.integers(3, 9), pixels=st.integers(1, 2), seed=st.integers(0, 2**32 - 1))
def test_a_shifted_image_is_the_image_elsewhere(rows: int, columns: int, pixels: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    images = generator.uniform(1, 2, (5, rows * columns)).astype(np.float32)
    shifted = Shifts(pixels, (rows, columns))(images, generator).reshape(5, rows, columns)
    wide = np.pad(images.reshape(5, rows, columns), [(0, 0), (pixels, pixels), (pixels, pixels)])
    for image, original in zip(shifted, wide, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(original, (rows, columns)).reshape(-1, rows, columns)
        assert (windows == image).all(axis=(1, 2)).sum() == 1


def test_every_offset_is_as_likely() -> None:
    dot = np.zeros((9000, 25), np.float32)
    dot[:, 12] = 1
    where = Shifts(1, (5, 5))(dot, np.random.default_rng(0)).sum(axis=0).reshape(5, 5)
    assert where[1:4, 1:4].sum() == 9000
    assert np.abs(where[1:4, 1:4] - 1000).max() < 5 * np.sqrt(1000)


def test_the_images_themselves_stay() -> None:
    images = np.ones((2, 9), np.float32)
    Shifts(1, (3, 3))(images, np.random.default_rng(0))
    assert (images == 1).all()


def test_no_shifts_asked_for() -> None:
    assert make_shifts(0, None) is None


def test_what_is_no_image_is_not_shifted() -> None:
    with pytest.raises(InputError, match="no images of rows and columns"):
        make_shifts(1, None)


def test_images_stay_in_sight() -> None:
    with pytest.raises(InputError, match="shifts of 8 pixels move images of 8 x 8 pixels out of sight"):
        make_shifts(8, (8, 8))
