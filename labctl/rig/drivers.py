"""Drivers by name: what the installed packages offer under labctl's entry points."""

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from labctl.contract.driver import InstrumentDriver, LayerDriver
from labctl.contract.errors import InputError
from labctl.contract.simulator import BenchSimulator

INSTRUMENTS = "labctl.instruments"
LAYERS = "labctl.layers"
SIMULATORS = "labctl.simulators"


def instrument_driver(name: str) -> InstrumentDriver[Any]:
    """Return the instrument driver `name`. Raises `InputError` when no installed package has it."""
    return cast("InstrumentDriver[Any]", _load(INSTRUMENTS, name, InstrumentDriver, "instrument driver"))


def layer_driver(name: str) -> LayerDriver[Any]:
    """Return the layer `name`. Raises `InputError` when no installed package has it."""
    return cast("LayerDriver[Any]", _load(LAYERS, name, LayerDriver, "layer kind"))


def bench_simulator(name: str) -> BenchSimulator:
    """Return the bench on the simulated instrument of driver `name`. Raises `InputError` when no package has it."""
    return cast("BenchSimulator", _load(SIMULATORS, name, BenchSimulator, "bench on a simulated instrument"))


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of `group` by name, sorted."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def _load(group: str, name: str, kind: type, what: str) -> object:
    points = installed(group)
    if name not in points:
        close = difflib.get_close_matches(name, points, n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"installed: {', '.join(points) or 'none'}"
        raise InputError(f'unknown {what} "{name}"; {hint}')
    try:
        driver = points[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(f'{what} "{name}" ({points[name].value}) cannot be loaded: {error}') from error
    if not isinstance(driver, kind):
        raise InputError(f'{what} "{name}": {points[name].value} is no {kind.__name__}')
    return driver
