"""Cameras of other libraries than the bench's: each with whatever simulates one for it."""

import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labctl_drivers.camera import aravis, genicam, opencv
from labctl_drivers.camera import slmsuite as slmsuite_camera
from labctl_drivers.camera.base import SourcedCamera
from labctl_drivers.layers import optical
from labctl_drivers.slm import slmsuite as slmsuite_slm
from labctl_drivers.slm.slmsuite import SlmsuiteModulator
from labctl_simulators.instruments.optics.gige_camera import GigeCamera

from labctl.contract.clock import WallClock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InputError, InstrumentError, SettingError
from labctl.contract.layer import PhysicalLayer, RowStatus
from labctl.contract.optics import Camera, Modulator
from labctl.testing.layer_contract import LayerContract
from tests.wire.optical_bench import DRIVERS, OpticalBench, optical_bench

cv2 = pytest.importorskip("cv2")


def built(driver: InstrumentDriver[Any], **settings: Any) -> Any:
    return driver.build(driver.settings.model_validate(settings), BuildContext("camera", Path(), WallClock()))


def image_of(camera: SourcedCamera) -> np.ndarray:
    camera.expose()
    return camera.read().image


# GigE Vision on this computer's own network


@pytest.fixture
def gige_bench() -> Iterator[OpticalBench]:
    drivers = {**DRIVERS, "camera": ("camera.aravis", aravis.DRIVER)}
    # The simulated camera looks for a trigger 25 times a second.
    settings = {"address": "127.0.0.1", "start_delay": "45 ms", "frame_rate_limit": "1 kHz"}
    with optical_bench(drivers=drivers, camera=settings) as bench:
        yield bench


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a virtual display needs Linux or macOS")
class TestOpticsOverGigeVision(LayerContract):
    @pytest.fixture
    def layer(self, gige_bench: OpticalBench) -> PhysicalLayer:
        return gige_bench.layer(overlap=False)

    def test_responses_are_those_of_the_simulated_layer_to_the_count(
        self, layer: PhysicalLayer, gige_bench: OpticalBench
    ) -> None:
        rows, ids = gige_bench.drives(15), np.arange(15)
        layer.open()
        responses = list(layer.measure(rows, ids, stop=threading.Event()))
        expected = list(gige_bench.twin.measure(rows, ids, stop=threading.Event()))
        np.testing.assert_array_equal(
            np.concatenate([chunk.values for chunk in responses]), np.concatenate([chunk.values for chunk in expected])
        )

    def test_a_camera_that_was_reset_is_found_again(self, layer: PhysicalLayer, gige_bench: OpticalBench) -> None:
        layer.open()
        camera, rows = gige_bench.virtual.camera, gige_bench.drives(6)
        assert camera is not None
        camera.stop()
        camera.start()
        chunks = list(layer.measure(rows, np.arange(6), stop=threading.Event()))
        status = np.concatenate([chunk.status for chunk in chunks])
        assert set(status.tolist()) == {RowStatus.OK, RowStatus.FAILED}
        assert gige_bench.camera.counts["reset"] == 1
        (expected,) = gige_bench.twin.measure(rows, np.arange(6), stop=threading.Event())
        good = status == RowStatus.OK
        np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks])[good], expected.values[good])


@contextmanager
def meanwhile(do: Callable[[], None], every_s: float) -> Iterator[None]:
    """Do something again and again while the body runs."""
    ended = threading.Event()

    def again() -> None:
        while not ended.wait(every_s):
            do()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def traffic() -> Iterator[None]:
    """Send packets of others over this computer's network."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender, socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))

        def send() -> None:
            for _ in range(20):
                sender.sendto(bytes(range(256)), listener.getsockname())

        with meanwhile(send, every_s=0.0005):
            yield


@pytest.fixture
def line_bench() -> Iterator[OpticalBench]:
    drivers = {**DRIVERS, "camera": ("camera.aravis", aravis.DRIVER)}
    settings = {"address": "127.0.0.1", "frame_rate_limit": "1 kHz", "trigger": {"source": "Line0"}}
    with optical_bench(drivers=drivers, camera=settings) as bench:
        yield bench


def test_a_camera_that_the_modulator_triggers(line_bench: OpticalBench) -> None:
    layer, rows = line_bench.layer(overlap=False), line_bench.drives(12)
    camera = line_bench.virtual.camera
    assert isinstance(camera, GigeCamera)
    with meanwhile(camera.pulse, every_s=0.02):  # by the modulator's trigger output, for every picture of the display
        layer.open()
        chunks = list(layer.measure(rows, np.arange(12), stop=threading.Event()))
    (expected,) = line_bench.twin.measure(rows, np.arange(12), stop=threading.Event())
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), expected.values)
    assert not line_bench.camera.counts


def test_a_trigger_cable_that_is_not_plugged_in(line_bench: OpticalBench) -> None:
    with pytest.raises(InstrumentError, match=r"no picture arrives: does the trigger's cable carry a signal\?"):
        line_bench.layer(overlap=False).open()


def test_a_virtual_camera_never_shares_the_address_of_another(gige_bench: OpticalBench) -> None:
    first = gige_bench.virtual.camera
    assert isinstance(first, GigeCamera)
    second = GigeCamera(lambda at_s: (None, 0.0), first.address)
    with pytest.raises(InputError, match=rf"{first.address} has one already.*ip address add"):
        second.start()
    first.stop()
    second.start()
    assert second.address == first.address
    second.stop()


def test_what_others_send_over_the_network_is_no_picture(gige_bench: OpticalBench) -> None:
    layer, rows = gige_bench.layer(overlap=False), gige_bench.drives(1)
    (expected,) = gige_bench.twin.measure(rows, np.arange(1), stop=threading.Event())
    for _ in range(5):
        with traffic():
            layer.open()
        (chunk,) = layer.measure(rows, np.arange(1), stop=threading.Event())
        np.testing.assert_array_equal(chunk.values, expected.values)
        layer.close()
    assert not gige_bench.camera.counts


def test_what_strangers_send_to_the_camera_stream_is_no_picture(gige_bench: OpticalBench) -> None:
    """It spoils the numbers by which Aravis knows what is late; a picture that is missing begins them anew."""
    layer, rows = gige_bench.layer(overlap=False), gige_bench.drives(3)
    layer.open()
    camera: Any = gige_bench.camera
    ahead = camera._first_id + camera._fired + 50
    camera._restart()
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.sendto(struct.pack(">HHI", 0, ahead, 9 << 24), ("127.0.0.1", camera._source._stream.get_port()))
    chunks = list(layer.measure(rows, np.arange(3), stop=threading.Event()))
    status = np.concatenate([chunk.status for chunk in chunks])
    assert status.tolist() == [RowStatus.FAILED, RowStatus.OK, RowStatus.OK]
    (expected,) = gige_bench.twin.measure(rows, np.arange(3), stop=threading.Event())
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks])[1:], expected.values[1:])
    assert gige_bench.camera.counts == {"lost": 1}


def test_a_gige_camera_that_is_not_there_is_named() -> None:
    camera = built(aravis.DRIVER, address="127.0.0.99", region={"width": 8, "height": 8}, exposure="1 ms")
    with pytest.raises(InstrumentError, match=r"127\.0\.0\.99"):
        camera.open()


# A GenTL producer with a bouncing ball


GENTL: dict[str, Any] = {
    "address": "VikyTL_DEV_red",
    "region": {"width": 400, "height": 400},
    "exposure": "1 ms",
    "exposure_is_fixed": True,
    "trigger": {"source": "free"},
}


@pytest.fixture
def producer() -> Path:
    package = pytest.importorskip("genicam")
    return Path(package.__file__).with_name("viky.cti")


def test_a_gentl_camera_without_trigger_gives_new_pictures(producer: Path) -> None:
    camera = built(genicam.DRIVER, producer=str(producer), **GENTL)
    assert isinstance(camera, Camera)
    camera.open()
    try:
        assert "Viky" in camera.identity
        images = [image_of(camera) for _ in range(4)]
        assert all(image.shape == (400, 400) and image.dtype == np.uint8 for image in images)
        assert all((one != other).any() for one, other in pairwise(images))
    finally:
        camera.close()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"address": "VikyTL_DEV_blau"}, "there are: VikyTL_DEV_red, VikyTL_DEV_green"),
        ({"pixel_format": "Mono12"}, "set PixelFormat to Mono12"),
        ({"exposure_is_fixed": False}, "has no feature ExposureTime or ExposureTimeAbs"),
        ({"trigger": {"source": "software"}}, "TriggerSelector"),
    ],
)
def test_what_a_gentl_camera_cannot_do_is_an_error_at_opening(changes: Any, says: str, producer: Path) -> None:
    camera = built(genicam.DRIVER, producer=str(producer), **(GENTL | changes))
    with pytest.raises(InstrumentError, match=says):
        camera.open()
    with pytest.raises(InstrumentError, match="not open"):
        camera.expose()


def test_a_producer_that_is_no_file_is_refused_at_validation() -> None:
    with pytest.raises(SettingError, match=r"none\.cti is no file"):
        built(genicam.DRIVER, producer="none.cti", **GENTL)


# Videos


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten pictures of 20 x 24, each of one grey, losslessly."""
    path = tmp_path / "greys.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 30, (24, 20), isColor=False)
    for grey in range(10, 110, 10):
        writer.write(np.full((20, 24), grey, np.uint8))
    writer.release()
    return path


def test_pictures_of_a_video_device_in_their_order(video: Path) -> None:
    region = {"left": 4, "top": 2, "width": 16, "height": 10}
    camera = built(opencv.DRIVER, address=str(video), region=region, exposure="1 ns", channel="green", discard=1)
    camera.open()
    try:
        images = [image_of(camera) for _ in range(3)]
        assert [image.shape for image in images] == [(10, 16)] * 3
        # One is looked at when opening, and before each one is left out.
        assert [int(image.mean()) for image in images] == [30, 50, 70]
    finally:
        camera.close()


def test_a_video_device_that_is_not_there_and_a_region_beyond_its_picture(video: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"exposure": "1 ms", "channel": "red", "reconnects": 0}
    for address, width, says in ((tmp_path / "none", 8, "there is no video device"), (video, 25, "column 25")):
        camera = built(opencv.DRIVER, address=str(address), region={"width": width, "height": 8}, **settings)
        with pytest.raises(InstrumentError, match=says):
            camera.open()


# slmsuite's own simulation


SLMSUITE: dict[str, Any] = {
    "class": "tests.wire.slmsuite_loop.LoopCamera",
    "region": {"width": 64, "height": 48},
    "exposure": "1 ms",
}
SLMSUITE_SLM: dict[str, Any] = {"class": "tests.wire.slmsuite_loop.LoopSlm", "size": [64, 48], "settle": "0 s"}


@pytest.mark.usefixtures("at_once")
def test_a_layer_on_slmsuites_simulated_bench() -> None:
    pytest.importorskip("slmsuite")
    camera, slm = built(slmsuite_camera.DRIVER, **SLMSUITE), built(slmsuite_slm.DRIVER, **SLMSUITE_SLM)
    assert isinstance(slm, Modulator)
    settings = {
        "modulator": "slm",
        "camera": "camera",
        "modulation": {"kind": "phase", "stroke_rad": 2 * np.pi * 255 / 256},
        "inputs": {"rows": 4, "columns": 4},
        "outputs": {"rows": 6, "columns": 8},
        "max_saturated": 0.5,
    }
    context = BuildContext("bench", Path(), WallClock())
    own = optical.DRIVER.settings.model_validate(settings)
    layer = optical.DRIVER.build(own, {"slm": slm, "camera": camera}, context)
    layer.open()
    rows = (np.random.default_rng(0).integers(0, 256, (4, 16)) / 255).astype(np.float32)
    rows[3] = rows[0]
    (chunk,) = layer.measure(rows, np.arange(4), stop=threading.Event())
    assert chunk.status.tolist() == [RowStatus.OK] * 4
    np.testing.assert_array_equal(chunk.values[3], chunk.values[0])
    assert (chunk.values[1] != chunk.values[0]).any()
    layer.close()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"class": "slmsuite.hardware.slms.santec.Santec"}, "Santec cannot be loaded|Error"),
        ({"class": "slmsuite.hardware.slms.nothing.None_"}, "cannot be loaded"),
        ({"size": [64, 50]}, "the modulator has 64 x 48 pixels"),
        ({"arguments": {"no_such": 1}}, "TypeError"),
    ],
)
def test_a_modulator_that_slmsuite_cannot_open_is_an_error(changes: Any, says: str) -> None:
    pytest.importorskip("slmsuite")
    slm = built(slmsuite_slm.DRIVER, **(SLMSUITE_SLM | changes))
    assert isinstance(slm, SlmsuiteModulator)
    with pytest.raises(InstrumentError, match=says):
        slm.open()
    with pytest.raises(InputError, match="a plane is"):
        slm.show(np.zeros((3, 3), np.uint8))
