"""Calibration files: what was measured of one part of a rig on one day, as JSON that people can read, too."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np

from labctl.contract.capabilities import Calibration, Finding, Measured
from labctl.contract.errors import SettingError

SCHEMA = "labctl/calibration/1"


def calibration_id(calibration: Calibration) -> str:
    """Name what was measured; equal ids promise equal quantities."""
    return hashlib.sha256(json.dumps(_quantities(calibration), sort_keys=True).encode()).hexdigest()[:12]


def write_calibration(folder: Path, rig: str, part: str, calibration: Calibration, when: datetime) -> Path:
    """Write `DATE-RIG-PART.json` into `folder`, numbered if that exists, and return its path. Raises `OSError`."""
    text = json.dumps(
        {
            "schema": SCHEMA,
            "rig": rig,
            "part": part,
            "time": when.isoformat(timespec="seconds"),
            "quantities": _quantities(calibration),
            "findings": [
                {"subject": each.subject, "text": each.text, "remedy": each.remedy} for each in calibration.findings
            ],
        },
        indent=1,
    )
    stem, number = f"{when:%Y-%m-%d}-{rig}-{part}", 1
    while True:
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text + "\n")
        except FileExistsError:
            number += 1
        else:
            return path


def read_calibration(path: Path) -> Calibration:
    """Return what a file says. Raises `SettingError` at `calibration` for one that is missing or is none."""
    try:
        data = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        schema = data["schema"]
        described = cast("dict[str, dict[str, Any]]", data["quantities"])
        quantities = {name: _measured(each) for name, each in described.items()}
        findings = tuple(Finding(**each) for each in cast("list[dict[str, str]]", data["findings"]))
    except OSError as error:
        raise SettingError(("calibration",), f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(("calibration",), f"{path} is no calibration, or damaged: {error!r}") from error
    if schema != SCHEMA:
        raise SettingError(("calibration",), f"{path} is a file of another kind than {SCHEMA}; calibrate again")
    return Calibration(quantities, findings)


def _quantities(calibration: Calibration) -> dict[str, dict[str, Any]]:
    return {
        name: {"value": each.value.tolist(), "uncertainty": each.uncertainty.tolist(), "unit": each.unit}
        for name, each in calibration.quantities.items()
    }


def _measured(described: dict[str, Any]) -> Measured:
    value, uncertainty = (np.array(described[key], dtype=np.float64) for key in ("value", "uncertainty"))
    np.broadcast_shapes(value.shape, uncertainty.shape)
    if not (np.isfinite(value).all() and (uncertainty >= 0).all()):
        raise ValueError("a value is not finite, or an uncertainty negative")
    return Measured(value, uncertainty, str(described["unit"]))
