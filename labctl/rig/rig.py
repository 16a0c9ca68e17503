"""A rig: instruments and layers built from a rig file, opened together, made safe on every way out."""

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from labctl.config.errors import closest
from labctl.config.loading import LoadedRig
from labctl.config.placing import errors_at
from labctl.config.rig import Interlock, RecoverySettings
from labctl.contract.capabilities import Identifiable
from labctl.contract.clock import Clock, SimulatedClock, WallClock
from labctl.contract.driver import BuildContext, Instrument
from labctl.contract.errors import Fault, InputError, InstrumentError
from labctl.contract.layer import PhysicalLayer
from labctl.contract.safety import Safeguarded
from labctl.rig.drivers import instrument_driver, layer_driver

_log = logging.getLogger(__name__)

Part = Instrument | PhysicalLayer


@runtime_checkable
class Attributed(Protocol):
    """A part that tells others whose it is."""

    def name_run(self, run: str) -> None:
        """Take over the name of the run that uses it. Never raises."""
        ...


@runtime_checkable
class Introducing(Protocol):
    """A host that knows who answers at the addresses of its rig's instruments."""

    def identities(self) -> Mapping[str, str]:
        """Return make, model, serial number and firmware as told, by instrument; empty before `open`."""
        ...


@dataclass(frozen=True)
class Rig:
    """Everything one rig file names, by name. Building it touches no hardware.

    Where a `host` drives the rig, it alone is opened, made safe and closed, and the layers reach theirs through it.
    """

    name: str
    instruments: Mapping[str, Instrument]
    layers: Mapping[str, PhysicalLayer]
    power_w: float | None
    host: Instrument | None = None
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    interlocks: Mapping[str, Interlock] = field(default_factory=dict[str, Interlock])

    @property
    def simulated(self) -> bool:
        """Whether no layer of the rig has real hardware behind it."""
        return all(layer.info.simulated for layer in self.layers.values())


def build_rig(loaded: LoadedRig) -> Rig:
    """Construct the instruments and layers of a rig file.

    Raises `ConfigError` at the line that is wrong: unknown driver or kind, settings that do not fit.
    """
    document, rig = loaded.document, loaded.rig
    clock = _clock(rig.time_scale)
    instruments: dict[str, Instrument] = {}
    for name, body in rig.instruments.items():
        with errors_at(document, "instruments", name, "driver"):
            driver = instrument_driver(str(body["driver"]))
        settings = document.validate(driver.settings, at=("instruments", name), ignoring=frozenset({"driver"}))
        with errors_at(document, "instruments", name):
            instruments[name] = driver.build(settings, BuildContext(name, document.folder, clock))
    layers: dict[str, PhysicalLayer] = {}
    for name, body in rig.layers.items():
        with errors_at(document, "layers", name, "kind"):
            kind = layer_driver(str(body["kind"]))
        settings = document.validate(kind.settings, at=("layers", name), ignoring=frozenset({"kind"}))
        with errors_at(document, "layers", name):
            layers[name] = kind.build(settings, instruments, BuildContext(name, document.folder, clock))
    return Rig(rig.name, instruments, layers, rig.power_w, recovery=rig.recovery, interlocks=rig.interlocks)


def find_layer(rigs: Mapping[str, Rig], name: str) -> PhysicalLayer:
    """Return the layer a block names: `cavity`, or `main.cavity` where several rigs have one of that name.

    Raises `InputError` when there is none or more than one.
    """
    matches = {
        f"{role}.{layer_name}": layer
        for role, rig in rigs.items()
        for layer_name, layer in rig.layers.items()
        if name in (layer_name, f"{role}.{layer_name}")
    }
    if len(matches) == 1:
        return next(iter(matches.values()))
    if matches:
        raise InputError(f"layer '{name}' is in more than one rig; write one of: {', '.join(matches)}")
    present = [layer for rig in rigs.values() for layer in rig.layers]
    slip = closest(name, present)
    hint = f"did you mean '{slip}'?" if slip else f"there are: {', '.join(present)}"
    raise InputError(f"no rig has a layer '{name}'; {hint}")


@contextmanager
def opened(rigs: Collection[Rig]) -> Generator[None]:
    """Open all instruments and layers of `rigs`; make them safe and close them on every way out.

    Raises one `InstrumentError` that names everything that failed to open.
    """
    with put_away(rigs):
        open_parts(rigs)
        yield


@contextmanager
def put_away(rigs: Collection[Rig]) -> Generator[None]:
    """Make all instruments and layers of `rigs` safe and close them on every way out."""
    try:
        with made_safe(rigs):
            yield
    finally:
        close_parts(rigs)


@contextmanager
def made_safe(rigs: Collection[Rig]) -> Generator[None]:
    """Make all instruments and layers of `rigs` safe on every way out."""
    try:
        yield
    finally:
        make_parts_safe(rigs)


def name_run(rigs: Collection[Rig], run: str) -> None:
    """Tell those who find an instrument of `rigs` in use which run uses it."""
    for _, part in _parts(rigs):
        if isinstance(part, Attributed):
            part.name_run(run)


def identities(rig: Rig) -> dict[str, str]:
    """Return who answers at the addresses of the open `rig`, by instrument, of those that can tell."""
    if isinstance(rig.host, Introducing):
        return dict(rig.host.identities())
    parts = rig.instruments.items()
    return {name: part.identity for name, part in parts if isinstance(part, Identifiable) and part.identity}


def open_parts(rigs: Collection[Rig]) -> None:
    """Open all instruments and layers. Raises one `InstrumentError` that names everything that failed to open."""
    _open_all(_parts(rigs))


def make_parts_safe(rigs: Collection[Rig], *, safeguarded_only: bool = False) -> bool:
    """Make instruments and layers safe, what radiates first; return whether not one of them raised an error.

    Those without a safe plan follow in reverse order of opening, unless only those with one are asked for.
    """
    parts = list(reversed(_parts(rigs)))
    first = sorted((part for part in parts if _order(part) is not None), key=lambda part: _order(part) or 0)
    others = [] if safeguarded_only else [part for part in parts if _order(part) is None]
    return _each(iter([*first, *others]), "make safe", lambda part: part.make_safe())


def close_parts(rigs: Collection[Rig]) -> None:
    """Close all instruments and layers."""
    _each(reversed(_parts(rigs)), "close", lambda part: part.close())


def _order(named: tuple[str, Part]) -> int | None:
    """Return where the safe plan of a part begins in the order of making safe, None for a part without one."""
    part = named[1]
    return min((int(step.order) for step in part.safe_plan()), default=None) if isinstance(part, Safeguarded) else None


def _parts(rigs: Collection[Rig]) -> list[tuple[str, Part]]:
    return [
        part
        for rig in rigs
        for part in ([("host", rig.host)] if rig.host else [*rig.instruments.items(), *rig.layers.items()])
    ]


def _open_all(parts: Sequence[tuple[str, Part]]) -> None:
    failures: list[InstrumentError] = []
    for _, part in parts:
        try:
            part.open()
        except InstrumentError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise InstrumentError(
            ", ".join(error.instrument for error in failures),
            "; ".join(str(error) for error in failures),
            fault=Fault.REFUSED if any(error.fault is Fault.REFUSED for error in failures) else Fault.FAILED,
        )


def _each(
    parts: Iterator[tuple[str, Part]],
    action: str,
    act: Callable[[Part], None],
) -> bool:
    """Act on every part, whatever the ones before it did: one that fails must not keep the next one unsafe.

    Return whether none failed.
    """
    interrupt: BaseException | None = None
    failed = False
    for name, part in parts:
        try:
            act(part)
        except Exception:  # noqa: BLE001 - whatever fails, the next part must still be made safe
            _log.exception("could not %s '%s'", action, name)
            failed = True
        except BaseException as error:  # noqa: BLE001 - an impatient Ctrl-C waits for the parts that remain
            _log.exception("interrupted: could not %s '%s'", action, name)
            interrupt = error
    if interrupt is not None:
        raise interrupt
    return not failed


def _clock(scale: float | str) -> Clock:
    if scale == "instant":
        return SimulatedClock(float("inf"))
    return WallClock() if float(scale) == 1.0 else SimulatedClock(float(scale))
