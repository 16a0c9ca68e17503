"""The recorded layer on a small system that is known exactly: moduli of complex sums."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_simulators.loopback import recorded
from labctl_simulators.loopback.recorded import RecordedLayer

from labctl.contract.clock import SimulatedClock
from labctl.contract.driver import BuildContext
from labctl.contract.errors import DriveError, InputError, InstrumentError
from labctl.contract.layer import Drives, LayerInfo, PhysicalLayer
from labctl.testing.layer_contract import LayerContract

N_ROWS = 600
DEAD_INPUT = 2
DEAD_OUTPUT = 1


def system() -> tuple[np.ndarray, np.ndarray]:
    """Return drives (n, 4), one of them dead, and responses (n, 3), one of them noise; row 0 is all zeros."""
    rng = np.random.default_rng(3)
    x = rng.random((N_ROWS, 4)).astype(np.float32)
    x[0] = 0
    transfer = rng.standard_normal((4, 3)) + 1j * rng.standard_normal((4, 3))
    transfer[DEAD_INPUT] = 0
    y = np.abs(x @ transfer) + 0.01 * rng.standard_normal((N_ROWS, 3))
    y[:, DEAD_OUTPUT] = 1e-3 * rng.random(N_ROWS)
    y[0] = 0
    return x, y.astype(np.float32)


def build(folder: Path, clock: SimulatedClock | None = None, **changes: Any) -> RecordedLayer:
    settings = {"path": "pairs.npz", "seed": 1, "pass": "1 s"} | changes
    context = BuildContext("twin", folder, clock or SimulatedClock(float("inf")))
    layer = recorded.DRIVER.build(recorded.DRIVER.settings.model_validate(settings), {}, context)
    assert isinstance(layer, RecordedLayer)
    return layer


def inside(n_rows: int) -> Drives:
    return system()[0][1 : n_rows + 1][:, [0, 1, 3]]


def measured(layer: PhysicalLayer, drives: Drives, ids: list[int]) -> np.ndarray:
    chunks = layer.measure(drives, np.array(ids), stop=threading.Event())
    return np.concatenate([chunk.values for chunk in chunks])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x, y = system()
    np.savez(tmp_path / "pairs.npz", x=x, y=y)
    return tmp_path


class TestRecordedSynthetic(LayerContract):
    @pytest.fixture
    def layer(self, folder: Path) -> PhysicalLayer:
        return build(folder)

    def drives(self, info: LayerInfo, n_rows: int) -> Drives:
        return inside(n_rows)


def test_dead_channels_are_dropped_and_held(folder: Path) -> None:
    layer = build(folder)
    assert [channel.name for channel in layer.info.inputs] == ["x0", "x1", "x3"]
    assert [channel.name for channel in layer.info.outputs] == ["y0", "y2"]
    assert layer.surrogate.held[DEAD_INPUT] == pytest.approx(system()[0][1:, DEAD_INPUT].mean(), rel=1e-6)


def test_a_modulus_is_recognised_and_its_noise_stated(folder: Path) -> None:
    surrogate = build(folder).surrogate
    assert surrogate.rooted.all()
    np.testing.assert_allclose(surrogate.residual, 0.01, rtol=0.25)
    assert (surrogate.r2 > 0.99).all()


def test_rows_are_the_same_to_the_bit_alone_and_together(folder: Path) -> None:
    first, second = build(folder), build(folder)
    first.open()
    second.open()
    together = measured(first, inside(100), list(range(100)))
    for row in (0, 17, 99):
        np.testing.assert_array_equal(measured(second, inside(100)[row : row + 1], [row])[0], together[row])


def test_repeating_a_row_draws_new_noise_and_reopening_repeats_it(folder: Path) -> None:
    layer = build(folder)
    layer.open()
    first, again = measured(layer, inside(1), [4]), measured(layer, inside(1), [4])
    assert (first != again).all()
    layer.close()
    layer.open()
    np.testing.assert_array_equal(measured(layer, inside(1), [4]), first)


def test_without_noise_repeats_are_equal(folder: Path) -> None:
    layer = build(folder, noise=False)
    layer.open()
    np.testing.assert_array_equal(measured(layer, inside(1), [4]), measured(layer, inside(1), [4]))


def test_a_norm_never_recorded_is_refused(folder: Path) -> None:
    layer = build(folder)
    layer.open()
    low = np.array([[channel.low for channel in layer.info.inputs]], dtype=np.float32)
    with pytest.raises(DriveError, match="norm"):
        layer.measure(low, np.array([8]), stop=threading.Event())


def test_every_recorded_row_is_inside_the_domain(folder: Path) -> None:
    layer = build(folder)
    layer.open()
    assert len(measured(layer, inside(N_ROWS - 1), list(range(N_ROWS - 1)))) == N_ROWS - 1


def test_passes_take_their_nominal_time(folder: Path) -> None:
    clock = SimulatedClock(float("inf"))
    layer = build(folder, clock)
    layer.open()
    measured(layer, inside(5), list(range(5)))
    assert clock.now_s() == pytest.approx(5.0)


def test_closed_it_does_not_answer(folder: Path) -> None:
    with pytest.raises(InstrumentError, match="not open"):
        build(folder).measure(inside(1), np.array([0]), stop=threading.Event())


def test_state_names_the_data_not_the_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("moved")
    (other / "pairs.npz").write_bytes((folder / "pairs.npz").read_bytes())
    assert build(other).state_id == build(folder).state_id
    x, y = system()
    np.savez(other / "pairs.npz", x=x, y=2 * y)
    assert build(other).state_id != build(folder).state_id
    assert build(folder, seed=2).state_id != build(folder).state_id


def _spoil(path: Path, fault: str) -> None:
    x, y = system()
    if fault == "missing":
        path.unlink()
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    elif fault == "not an archive":
        path.write_bytes(b"x,y\n1,2\n")
    elif fault == "single array":
        np.save(path.with_suffix(".npy"), x)
        path.with_suffix(".npy").rename(path)
    else:
        x[5, 1] = np.nan if fault == "nan" else x[5, 1]
        arrays = {"nan": {"x": x, "y": y}, "key": {"x": x, "z": y}, "flat": {"x": x, "y": y[:, 0]}}
        arrays |= {"lengths": {"x": x, "y": y[:-1]}, "silent": {"x": x, "y": 0 * y}, "few": {"x": x[:20], "y": y[:20]}}
        arrays |= {"deaf": {"x": x, "y": y[::-1]}, "objects": {"x": x, "y": y.astype(object)}}
        np.savez(path, **arrays[fault])


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("missing", "no such file"),
        ("truncated", "not a readable .npz"),
        ("not an archive", "not a readable .npz"),
        ("single array", "not a readable .npz"),
        ("objects", "not a readable .npz"),
        ("nan", "'x' is not a finite number at row 5, column 1"),
        ("key", "no array 'y'; the file holds x, z"),
        ("flat", "must be a table of numbers"),
        ("lengths", "600 drives but 599 responses"),
        ("silent", "every recorded response is zero"),
        ("few", "too few"),
        ("deaf", "no output can be predicted"),
    ],
)
def test_a_bad_file_is_one_clear_error(folder: Path, fault: str, says: str) -> None:
    _spoil(folder / "pairs.npz", fault)
    with pytest.raises(InputError, match=r"pairs\.npz") as caught:
        build(folder)
    assert says in str(caught.value)
