"""What a calibration of an optical layer says, and what is made of it: settling, and lag of the camera."""

from labctl.contract.calibration import read_calibration
from labctl.contract.capabilities import Calibration, Finding
from labctl.contract.driver import BuildContext
from labctl.contract.errors import SettingError
from labctl.contract.optics import Modulator
from labctl_drivers.layers.optical_settings import OpticalSettings
from labctl_drivers.layers.step_response import Step


def read_settling_calibration(settings: OpticalSettings, context: BuildContext) -> Calibration | None:
    """Return what the calibration file says, if one is named. Raises `SettingError`."""
    if settings.calibration is None:
        return None
    path = context.folder / settings.calibration
    calibration = read_calibration(path)
    if not {"settle", "lag"} <= set(calibration.quantities):
        raise SettingError(("calibration",), f"{path} is not of an optical layer: it has no `settle` and `lag`")
    return calibration


def settling(calibration: Calibration | None, modulator: Modulator) -> tuple[float, int]:
    """Return how long is waited after a pattern is shown, and how many pictures are left out before one counts.

    Of a measured settling the upper end, twice its uncertainty above, is waited for.
    """
    if calibration is None:
        return modulator.settle_s, 0
    settle, lag = calibration.quantities["settle"], calibration.quantities["lag"]
    return float(settle.value + 2.0 * settle.uncertainty), round(float(lag.value))


def findings(step: Step, settle_s: float) -> tuple[Finding, ...]:
    """Return what was found, beside what the rig file says of settling."""
    found = f"{step.settle_s * 1e3:.1f} ms, standard uncertainty {step.uncertainty_s * 1e3:.1f} ms"
    short = "" if settle_s >= step.settle_s else "the rig file's is shorter: name the new file, or write a longer one"
    return (
        Finding("settle", found, short),
        Finding("lag", f"{step.lag} pictures" if step.lag else "none: every picture is that of its own exposure"),
    )
