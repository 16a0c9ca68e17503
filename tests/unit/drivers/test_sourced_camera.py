"""Which picture belongs to which exposure, whatever becomes of the others."""

import time
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_drivers.camera.base import RawFrame, SourcedCamera
from labctl_drivers.camera.settings import CameraSettings

from labctl.contract.clock import SimulatedClock
from labctl.contract.errors import InstrumentError
from labctl.contract.optics import FrameError

SETTINGS: dict[str, Any] = {
    "region": {"width": 3, "height": 2},
    "exposure": "1 ms",
    "timeout": "1 ms",
    "reconnects": 2,
}


class ScriptedSource:
    """Exposes pictures that hold the number of their exposure; `fate` says what becomes of the next ones.

    `ok`, `lost`, `late` (it comes with the next one), `twice`, `broken`, `gone` (the camera, until connected again).
    """

    fires = True
    streams = True

    def __init__(self, *, numbered: bool = True, period: int | None = None, first_id: int = 5) -> None:
        self.id_period = period
        self.fate: deque[str] = deque()
        self.identity = "Script 1"
        self._numbered = numbered
        self._next_id = first_id
        self._exposures = 0
        self._queue: deque[RawFrame] = deque()
        self._held: list[RawFrame] = []
        self._gone = False

    def connect(self) -> str:
        self._gone = False
        return self.identity

    def start(self) -> None:
        self._queue.clear()
        self._held.clear()

    def stop(self) -> None:
        """Nothing is acquired between `stop` and `start`."""

    def disconnect(self) -> None:
        self._gone = True

    def fire(self) -> None:
        self._require_there()
        self._exposures += 1
        frame = RawFrame(np.full((2, 3), self._exposures, np.uint8), self._id(), 0.0)
        fate = self.fate.popleft() if self.fate else "ok"
        held, self._held = self._held, []
        if fate == "late":
            self._held = [frame]
        elif fate == "gone":
            self._gone = True
        elif fate != "lost":
            delivered = frame._replace(image=None, cause="torn") if fate == "broken" else frame
            self._queue.extend([*held, delivered, *([frame] if fate == "twice" else [])])

    def fetch(self, timeout_s: float) -> RawFrame | None:
        self._require_there()
        return self._queue.popleft() if self._queue else None

    def _id(self) -> int | None:
        number = self._next_id
        self._next_id += 1
        if self.id_period is not None and self._next_id > self.id_period:
            self._next_id = 1
        return number if self._numbered else None

    def _require_there(self) -> None:
        if self._gone:
            raise InstrumentError("camera", "unplugged")


def camera_on(source: ScriptedSource, **changes: Any) -> SourcedCamera:
    own = CameraSettings.model_validate(SETTINGS | changes)
    camera = SourcedCamera(own, source, "camera", SimulatedClock(float("inf")))
    camera.open()
    return camera


def after(camera: SourcedCamera, source: ScriptedSource, *fate: str) -> list[int | None]:
    """Expose once for each fate; return the exposure that each picture shows, None for a `FrameError`."""
    source.fate.extend(fate)
    shown: list[int | None] = []
    for _ in fate:
        try:
            camera.expose()
            shown.append(int(camera.read().image[0, 0]))
        except FrameError:
            shown.append(None)
    return shown


def test_each_fault_is_counted_as_itself_and_no_picture_is_taken_for_another() -> None:
    source = ScriptedSource()
    camera = camera_on(source)
    assert after(camera, source, "ok", "late", "ok", "ok") == [1, None, 3, 4]
    assert camera.counts == {"late": 1}
    assert after(camera, source, "lost", "ok") == [None, 6]
    assert camera.counts == {"late": 1, "lost": 1}
    assert after(camera, source, "twice", "ok") == [7, 8]
    assert camera.counts == {"late": 1, "lost": 1, "duplicate": 1}
    assert after(camera, source, "broken", "ok") == [None, 10]
    assert camera.counts == {"late": 1, "lost": 1, "duplicate": 1, "broken": 1}
    assert camera.health()[0].text == "1 broken, 1 duplicate, 1 late, 1 lost"


def test_a_camera_that_is_gone_is_found_again() -> None:
    source = ScriptedSource()
    camera = camera_on(source)
    assert after(camera, source, "ok", "gone", "ok") == [1, None, 3]
    assert camera.counts == {"reset": 1}


def test_a_camera_that_was_exchanged_meanwhile_is_refused() -> None:
    source = ScriptedSource()
    camera = camera_on(source, reconnects=1)
    source.fate.append("gone")
    camera.expose()
    source.identity = "Script 2"
    with pytest.raises(InstrumentError, match="'Script 2' answers where 'Script 1' did before"):
        camera.read()
    with pytest.raises(InstrumentError, match="not open"):
        camera.expose()


def test_a_camera_that_stays_away_is_an_error() -> None:
    source = ScriptedSource()
    camera = camera_on(source, reconnects=0)
    source.fate.append("gone")
    camera.expose()
    with pytest.raises(InstrumentError, match="unplugged"):
        camera.read()


def test_numbers_begin_again() -> None:
    source = ScriptedSource(period=7, first_id=6)
    camera = camera_on(source)
    assert after(camera, source, *["ok"] * 9, "late", "ok", "lost", "ok") == [*range(1, 10), None, 11, None, 13]


@settings(deadline=None, max_examples=200)
@given(
    fate=st.lists(st.sampled_from(["ok", "ok", "late", "lost", "twice", "broken", "gone"]), min_size=1, max_size=40),
    numbered=st.booleans(),
    period=st.sampled_from([None, 65535]),
)
def test_whatever_happens_a_picture_is_of_its_own_exposure(fate: list[str], numbered: bool, period: int | None) -> None:
    """A camera without numbers may lose or send twice what it likes only where that is seen by its silence."""
    if not numbered:
        fate = ["ok" if each == "twice" else each for each in fate]
    source = ScriptedSource(numbered=numbered, period=period, first_id=65520)
    camera = camera_on(source)
    shown = after(camera, source, *fate)
    assert [each for each in shown if each is not None] == [k + 1 for k, each in enumerate(shown) if each is not None]


def test_exposures_left_out_before_one_that_counts() -> None:
    source = ScriptedSource()
    camera = camera_on(source, discard=2)
    assert after(camera, source, "ok", "ok") == [3, 6]
    assert camera.counts == {}
    assert camera.expose_s == pytest.approx(0.003)


class StreamingSource(ScriptedSource):
    """Exposes by itself what it sees, the `pattern`; `waiting` pictures were not fetched, and one is on its way."""

    fires = False

    def __init__(self) -> None:
        super().__init__(numbered=False)
        self.pattern = self._on_its_way = 0
        self.waiting = 0

    def fetch(self, timeout_s: float) -> RawFrame | None:
        self._require_there()
        if not timeout_s and not self.waiting:
            return None
        seen = self._on_its_way
        if self.waiting:
            self.waiting -= 1
        else:
            self._on_its_way = self.pattern
        return RawFrame(np.full((2, 3), seen, np.uint8), None, time.time())


@given(waiting=st.lists(st.integers(0, 8), min_size=1, max_size=20), discard=st.integers(0, 2))
def test_a_picture_of_a_camera_that_runs_by_itself_shows_what_is_shown_now(waiting: list[int], discard: int) -> None:
    source = StreamingSource()
    camera = camera_on(source, discard=discard, exposure="1 ns")
    for pattern, pictures in enumerate(waiting, start=1):
        source.waiting, source.pattern = pictures, pattern
        camera.expose()
        assert camera.read().image[0, 0] == pattern
    assert camera.expose_s == pytest.approx((2 + discard) * 1e-9)


@pytest.mark.parametrize(
    ("changes", "image", "says"),
    [
        ({"bits": 12}, np.full((2, 3), 4096, np.uint16), "more than 12 bits: is `bits` right"),
        ({}, np.zeros((3, 3), np.uint8), "a picture of 3 x 3 where 2 x 3 belongs"),
        ({}, np.zeros((2, 3, 3), np.uint8), "a picture of 2 x 3 x 3"),
    ],
)
def test_a_picture_of_another_form_is_an_error_and_never_bent(changes: Any, image: np.ndarray, says: str) -> None:
    source = ScriptedSource()
    source.fetch = lambda timeout_s: RawFrame(image, 5, 0.0)
    camera = camera_on(source, reconnects=0, **changes)
    camera.expose()
    with pytest.raises(InstrumentError, match=says):
        camera.read()


def test_bits_at_the_upper_end_of_a_word_are_moved_down() -> None:
    source = ScriptedSource()
    values = np.array([[0, 1, 2], [4093, 4094, 4095]], np.uint16)
    source.fetch = lambda timeout_s: RawFrame(values << 4, 5, 0.0)
    camera = camera_on(source, bits=12, alignment="left")
    camera.expose()
    np.testing.assert_array_equal(camera.read().image, values)
