"""Asks the layers of a bench how they are before a run goes on, and notes what is not well."""

import logging
from collections.abc import Iterable
from dataclasses import asdict

from labctl.contract.capabilities import HealthCheckable
from labctl.contract.errors import InstrumentError
from labctl.contract.layer import PhysicalLayer
from labctl.record.writer import Note

UNWELL = "unwell"
"""Kind of the event that says what is not well, and what to do about it."""

_log = logging.getLogger(__name__)


def ask_after(layers: Iterable[PhysicalLayer], note: Note) -> None:
    """Note and warn of what layers find not well with themselves. It keeps nothing from being measured.

    A layer that fails meanwhile fails again when it is measured, where the rig file says what becomes of that.
    """
    asked = {id(layer): layer for layer in layers}
    for layer in asked.values():
        if not isinstance(layer, HealthCheckable):
            continue
        try:
            findings = layer.health()
        except InstrumentError as error:
            _log.warning("%s cannot say how it is: %s", layer.info.name, error)
            continue
        for finding in findings:
            if finding.remedy:
                _log.warning("%s, %s: %s; %s", layer.info.name, finding.subject, finding.text, finding.remedy)
                note(UNWELL, {"layer": layer.info.name, **asdict(finding)})
