"""What a rig measures of itself, part by part, in this process or in its host, and how the host tells it."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from labctl.contract.capabilities import Calibratable, Calibration, Measured
from labctl.contract.driver import Instrument
from labctl.contract.layer import PhysicalLayer
from labctl.contract.messages import Message
from labctl.rig.examined import findings_as_json, findings_from_json
from labctl.rig.rig import Rig


@runtime_checkable
class CalibratesParts(Protocol):
    """A host that lets parts of its rig calibrate themselves."""

    def calibrate(self, part: str) -> Calibration:
        """Return what the part measures of itself. Raises `InstrumentError`."""
        ...


def calibratable(rig: Rig) -> tuple[str, ...]:
    """Return the names of the parts of `rig`, not hosted, that can calibrate themselves."""
    return tuple(name for name, part in _parts(rig).items() if isinstance(part, Calibratable))


def calibrate(rig: Rig, name: str) -> Calibration:
    """Let one of `calibratable` parts of an open rig calibrate itself, in its host if it has one.

    Raises `InstrumentError`.
    """
    if isinstance(rig.host, CalibratesParts):
        return rig.host.calibrate(name)
    part = _parts(rig)[name]
    if not isinstance(part, Calibratable):
        raise TypeError(f"'{name}' cannot calibrate itself")
    return part.calibrate()


def calibration_as_message(calibration: Calibration) -> tuple[dict[str, object], dict[str, NDArray[Any]]]:
    """Return head and arrays that describe a calibration."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, measured in calibration.quantities.items():
        arrays |= {f"{name} value": measured.value, f"{name} uncertainty": measured.uncertainty}
    units = {name: measured.unit for name, measured in calibration.quantities.items()}
    return {"units": units, "findings": findings_as_json(calibration.findings)}, arrays


def calibration_from_message(message: Message) -> Calibration:
    """Return what `calibration_as_message` described."""
    units: Mapping[str, str] = message.head["units"]
    quantities = {
        name: Measured(message.arrays[f"{name} value"], message.arrays[f"{name} uncertainty"], unit)
        for name, unit in units.items()
    }
    return Calibration(quantities, findings_from_json(message.head["findings"]))


def _parts(rig: Rig) -> dict[str, Instrument | PhysicalLayer]:
    return {**rig.instruments, **rig.layers}
