"""The contract every physical layer keeps, as tests that a laboratory runs against its own driver.

Subclass it in a test file and name the layer:

    class TestOurChamber(LayerContract):
        @pytest.fixture
        def layer(self) -> PhysicalLayer:
            return build_our_chamber()

The layer is handed over closed. Hardware is driven: 40 to 300 passes in all, with random drives within the ranges that
the layer states; override `drives` if that is not what may be sent. It needs pytest.
"""

import dataclasses
import threading
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest

from labctl.contract.capabilities import RawSignals
from labctl.contract.errors import DriveError
from labctl.contract.layer import (
    Drives,
    LayerInfo,
    PhysicalLayer,
    Responses,
    ResponseValues,
    RowIds,
    RowStatus,
)


class LayerContract:
    """Tests of a `PhysicalLayer`. Override the fixture `layer`, and what else differs."""

    repeatability: ClassVar[float] = 0.05
    """Two responses to one drive differ by at most this fraction of the largest response (largest difference)."""

    answers_to_drive: ClassVar[bool] = True
    """Whether responses depend on the drive at all; a layer made to test for that says False."""

    @pytest.fixture
    def layer(self) -> PhysicalLayer:
        """Return the layer under test, closed."""
        raise NotImplementedError("override the fixture `layer`")

    @pytest.fixture
    def opened(self, layer: PhysicalLayer) -> Iterator[PhysicalLayer]:
        """Open the layer for one test and leave it safe and closed."""
        layer.open()
        yield layer
        layer.make_safe()
        layer.close()

    def drives(self, info: LayerInfo, n_rows: int) -> Drives:
        """Return valid drives (n_rows, n_inputs), every row different."""
        rng = np.random.default_rng(20)
        low = np.array([channel.low for channel in info.inputs])
        high = np.array([channel.high for channel in info.inputs])
        share = rng.random((n_rows, info.n_inputs))
        for column, channel in enumerate(info.inputs):
            if channel.levels is not None:
                share[:, column] = np.rint(share[:, column] * (channel.levels - 1)) / (channel.levels - 1)
        drives = (low + share * (high - low)).astype(np.float32)
        return np.clip(drives, low.astype(np.float32), high.astype(np.float32))

    def test_info_is_consistent(self, layer: PhysicalLayer) -> None:
        """Names are there and unique, ranges are ordered, times are positive."""
        info = layer.info
        assert info.name
        assert info.resources
        assert info.nominal_pass_s > 0
        for channels in (info.inputs, info.outputs):
            assert channels
            assert len({channel.name for channel in channels}) == len(channels)
            assert all(channel.name and channel.unit for channel in channels)
            assert all(channel.low < channel.high for channel in channels)
        assert all(np.isfinite([channel.low, channel.high]).all() for channel in info.inputs)
        assert np.dtype(info.response_dtype).kind in "fiuc"
        assert layer.info == info
        assert layer.state_id

    def test_is_a_physical_layer(self, layer: PhysicalLayer) -> None:
        """Every member of the protocol exists."""
        assert isinstance(layer, PhysicalLayer)

    def test_opening_and_closing_twice_is_harmless(self, layer: PhysicalLayer) -> None:
        """Open, open, close, close; and the layer can be opened and used again."""
        layer.close()
        layer.open()
        layer.open()
        layer.close()
        layer.close()
        layer.open()
        try:
            assert len(_joined(_measured(layer, self.drives(layer.info, 2))).ids) == 2
        finally:
            layer.make_safe()
            layer.close()

    def test_make_safe_works_in_any_state(self, layer: PhysicalLayer) -> None:
        """Before opening, twice while open, and after closing; measuring works afterwards."""
        layer.make_safe()
        layer.open()
        layer.make_safe()
        layer.make_safe()
        assert len(_joined(_measured(layer, self.drives(layer.info, 2))).ids) == 2
        layer.make_safe()
        layer.close()
        layer.make_safe()

    def test_rows_come_back_in_order_with_their_ids(self, opened: PhysicalLayer) -> None:
        """Ids are the request's, whatever they are, and neither sorted nor renumbered."""
        ids = np.array([90, 3, 41, 2**40, 4], dtype=np.int64)
        assert _joined(_measured(opened, self.drives(opened.info, 5), ids)).ids.tolist() == ids.tolist()

    def test_chunks_are_well_formed(self, opened: PhysicalLayer) -> None:
        """Shapes and types are as stated, good values finite and within range, times increase from row to row."""
        info = opened.info
        chunks = _measured(opened, self.drives(info, 12))
        for chunk in chunks:
            _check_chunk(info, chunk)
        assert (np.diff(_joined(chunks).time_s) >= 0).all()

    def test_drives_are_left_alone(self, opened: PhysicalLayer) -> None:
        """The caller's arrays hold the same bits afterwards, and read-only arrays will do."""
        drives = self.drives(opened.info, 4)
        ids = np.arange(4, dtype=np.int64)
        before = drives.copy(), ids.copy()
        drives.setflags(write=False)
        ids.setflags(write=False)
        _measured(opened, drives, ids)
        np.testing.assert_array_equal(drives, before[0])
        np.testing.assert_array_equal(ids, before[1])

    @pytest.mark.parametrize("fault", ["above", "below", "nan", "columns", "flat", "ids"])
    def test_a_bad_drive_is_refused_before_anything_is_measured(self, opened: PhysicalLayer, fault: str) -> None:
        """The last row is wrong, and yet not one row comes back."""
        drives, ids = _spoilt(opened.info, self.drives(opened.info, 3), fault)
        received: list[Responses] = []
        with pytest.raises(DriveError):
            received.extend(opened.measure(drives, ids, stop=threading.Event()))
        assert received == []

    def test_stop_before_the_start_measures_nothing(self, opened: PhysicalLayer) -> None:
        """No pass is under way, so none is finished."""
        stop = threading.Event()
        stop.set()
        assert list(opened.measure(self.drives(opened.info, 3), np.arange(3, dtype=np.int64), stop=stop)) == []

    def test_stop_ends_early_with_a_prefix(self, opened: PhysicalLayer) -> None:
        """Stopped after the first chunk, rows come back without a hole, and fewer than asked for."""
        n_rows = 200
        stop = threading.Event()
        chunks: list[Responses] = []
        for chunk in opened.measure(self.drives(opened.info, n_rows), np.arange(n_rows, dtype=np.int64), stop=stop):
            chunks.append(chunk)
            stop.set()
        returned = _joined(chunks).ids.tolist()
        assert returned == list(range(len(returned)))
        assert len(returned) < n_rows or len(chunks[0].ids) == n_rows

    def test_no_rows_give_no_responses(self, opened: PhysicalLayer) -> None:
        """An empty request is a valid one."""
        chunks = _measured(opened, self.drives(opened.info, 3)[:0])
        assert sum(len(chunk.ids) for chunk in chunks) == 0

    def test_state_id_is_stable_over_measuring(self, opened: PhysicalLayer) -> None:
        """Measuring changes no parameter, configuration or calibration."""
        before = opened.state_id
        _measured(opened, self.drives(opened.info, 3))
        assert opened.state_id == before

    def test_an_abandoned_measurement_leaves_the_layer_usable(self, opened: PhysicalLayer) -> None:
        """A consumer may walk away after the first chunk; the next request starts afresh."""
        drives = self.drives(opened.info, 100)
        rows = iter(opened.measure(drives, np.arange(100, dtype=np.int64), stop=threading.Event()))
        first = next(rows)
        del rows
        assert first.ids[0] == 0
        ids = np.arange(500, 503, dtype=np.int64)
        assert _joined(_measured(opened, drives[:3], ids)).ids.tolist() == ids.tolist()

    def test_raw_signals_say_what_was_read_out_of_them(self, opened: PhysicalLayer) -> None:
        """They come when asked for and not otherwise; read again, stored and in any cut, they give the same bits."""
        if not isinstance(opened, RawSignals):
            pytest.skip("the layer hands over no raw signals")
        drives = self.drives(opened.info, 3)
        assert all(chunk.raw is None for chunk in _measured(opened, drives))
        opened.deliver_raw(wanted=True)
        measured = _joined(_measured(opened, drives))
        opened.deliver_raw(wanted=False)
        assert measured.raw is not None
        assert measured.raw.dtype == opened.raw_dtype
        stored = np.frombuffer(measured.raw.tobytes(), opened.raw_dtype)
        for part in (slice(None), slice(1, 2)):
            values, status = opened.rereading(opened)(stored[part], drives[part])
            assert values.dtype == opened.info.response_dtype
            np.testing.assert_array_equal(values, measured.values[part])
            np.testing.assert_array_equal(status, measured.status[part])

    def test_one_drive_twice_gives_nearly_one_response(self, opened: PhysicalLayer) -> None:
        """Repeats agree within the layer's stated `repeatability`."""
        drive = self.drives(opened.info, 1)
        first, second = _signed(_joined(_measured(opened, np.repeat(drive, 2, axis=0))).values)
        assert np.abs(first - second).max() <= self.repeatability * np.abs(first).max()

    def test_different_drives_give_different_responses(self, opened: PhysicalLayer) -> None:
        """Every pair of rows differs by more than repeats do, somewhere; or, for a deaf layer, depends on no drive."""
        drives = self.drives(opened.info, 3)
        values = _signed(_joined(_measured(opened, drives)).values)
        if self.answers_to_drive:
            limit = self.repeatability * np.abs(values).max()
            assert all(np.abs(values[i] - values[j]).max() > limit for i, j in ((0, 1), (0, 2), (1, 2)))
        else:
            np.testing.assert_array_equal(values, _signed(_joined(_measured(opened, drives[::-1].copy())).values))


class LayerContractOpenedOnce(LayerContract):
    """The same for a layer that takes long to open: it stays open where that makes no difference.

    Define a fixture `shared_layer`, of scope `module`, which hands it over closed and puts it away.
    """

    @pytest.fixture
    def layer(self, shared_layer: PhysicalLayer) -> PhysicalLayer:
        """Close the layer."""
        shared_layer.close()
        return shared_layer

    @pytest.fixture
    def opened(self, shared_layer: PhysicalLayer) -> Iterator[PhysicalLayer]:
        """Open the layer where it is not open, and leave it safe."""
        shared_layer.open()
        yield shared_layer
        shared_layer.make_safe()


def _measured(layer: PhysicalLayer, drives: Drives, ids: RowIds | None = None) -> list[Responses]:
    ids = np.arange(len(drives), dtype=np.int64) if ids is None else ids
    return list(layer.measure(drives, ids, stop=threading.Event()))


def _signed(values: ResponseValues) -> ResponseValues:
    """Return values whose differences do not wrap around, as those of camera counts would."""
    return values.astype(np.complex128)


def _joined(chunks: list[Responses]) -> Responses:
    fields = [field.name for field in dataclasses.fields(Responses) if getattr(chunks[0], field.name) is not None]
    return Responses(**{name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in fields})


def _check_chunk(info: LayerInfo, chunk: Responses) -> None:
    n_rows = len(chunk.ids)
    assert n_rows > 0
    assert chunk.ids.dtype == np.int64
    assert chunk.values.shape == (n_rows, info.n_outputs)
    assert chunk.values.dtype == np.dtype(info.response_dtype)
    assert chunk.status.shape == chunk.time_s.shape == (n_rows,)
    assert chunk.status.dtype == np.uint8
    assert {RowStatus(status) for status in chunk.status.tolist()} <= set(RowStatus)
    assert np.isfinite(chunk.time_s).all()
    good = chunk.values[chunk.status == RowStatus.OK]
    assert np.isfinite(good).all()
    if not np.iscomplexobj(good):
        assert (good >= [channel.low for channel in info.outputs]).all()
        assert (good <= [channel.high for channel in info.outputs]).all()


def _spoilt(info: LayerInfo, drives: Drives, fault: str) -> tuple[Drives, RowIds]:
    ids = np.arange(len(drives), dtype=np.int64)
    channel = info.inputs[-1]
    width = channel.high - channel.low
    if fault == "columns":
        return drives[:, :-1].copy(), ids
    if fault == "flat":
        return drives.reshape(-1), ids
    if fault == "ids":
        return drives, ids[:-1]
    drives[-1, -1] = {"above": channel.high + width, "below": channel.low - width, "nan": np.nan}[fault]
    return drives, ids
