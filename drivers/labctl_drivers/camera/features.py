"""GenICam features of a camera, by the names of the standard features naming convention (SFNC) or older ones."""

from typing import Protocol

from labctl.contract.errors import InstrumentError
from labctl_drivers.camera.settings import Feature, GenicamSettings

TOLERANCE = 0.01
"""Of a time or gain: cameras round to what their clocks and amplifiers can do."""

EXPOSURE = ("ExposureTime", "ExposureTimeAbs")
GAIN = ("Gain", "GainAbs")
AUTOMATIC = ("ExposureAuto", "GainAuto", "BlackLevelAuto", "BalanceWhiteAuto")


class Features(Protocol):
    """Features of an open camera by name. Every method raises `InstrumentError`."""

    def has(self, feature: str) -> bool:
        """Return whether there is such a feature and it can be set now."""
        ...

    def set(self, feature: str, value: Feature) -> None:
        """Set a feature."""
        ...

    def get(self, feature: str) -> Feature:
        """Return a feature's value."""
        ...


def set_up(features: Features, settings: GenicamSettings, name: str) -> None:
    """Set the camera up as the rig file says and read it back. Raises `InstrumentError`."""
    _set_if_there(features, "TriggerMode", "Off")  # some cameras refuse a new format while they wait for one
    for feature in AUTOMATIC:
        _set_if_there(features, feature, "Off")
    _set_if_there(features, "GammaEnable", False)
    _set(features, name, "PixelFormat", settings.pixel_format)
    _set_region(features, settings, name)
    if not settings.exposure_is_fixed:
        _set(features, name, _first_of(features, EXPOSURE, name), settings.exposure_s * 1e6)
    if settings.gain_db is not None:
        _set(features, name, _first_of(features, GAIN, name), settings.gain_db)
    _set_trigger(features, settings, name)
    for step in settings.features:
        for feature, value in step.items():
            _set(features, name, feature, value)


def _set_region(features: Features, settings: GenicamSettings, name: str) -> None:
    region = settings.region
    for feature in ("OffsetX", "OffsetY"):
        _set_if_there(features, feature, 0)  # what is left of an offset limits the extent
    _set(features, name, "Width", region.width)
    _set(features, name, "Height", region.height)
    for feature, offset in (("OffsetX", region.left), ("OffsetY", region.top)):
        if offset:
            _set(features, name, feature, offset)


def _set_trigger(features: Features, settings: GenicamSettings, name: str) -> None:
    trigger = settings.trigger
    _set_if_there(features, "AcquisitionMode", "Continuous")
    if trigger.is_free:
        return
    _set(features, name, "TriggerSelector", "FrameStart")
    _set(features, name, "TriggerMode", "On")
    _set(features, name, "TriggerSource", "Software" if trigger.is_software else trigger.source)
    if not trigger.is_software:
        _set(features, name, "TriggerActivation", {"rising": "RisingEdge", "falling": "FallingEdge"}[trigger.edge])


def _set(features: Features, name: str, feature: str, value: Feature) -> None:
    """Set a feature and read it back. Raises `InstrumentError` naming it."""
    features.set(feature, value)
    held = features.get(feature)
    if isinstance(value, float) and isinstance(held, (int, float)):
        same = abs(held - value) <= TOLERANCE * abs(value)
    else:
        same = held == value
    if not same:
        raise InstrumentError(name, f"{feature} is {held}, not {value} as it was set", command=f"set {feature}")


def _set_if_there(features: Features, feature: str, value: Feature) -> None:
    if features.has(feature):
        features.set(feature, value)


def _first_of(features: Features, known: tuple[str, ...], name: str) -> str:
    for feature in known:
        if features.has(feature):
            return feature
    raise InstrumentError(name, f"the camera has no feature {' or '.join(known)} that can be set", command="set up")
