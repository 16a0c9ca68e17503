"""A virtual LibreVNA with the SCPI server of its GUI: text only, no error queue, late news of a new sweep."""

import time

import numpy as np

from labctl_simulators.instruments.scpi_tree import Call, ScpiError, ScpiTree
from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.physics.enclosure import Complex, Real

PARAMETERS = ("S11", "S12", "S21", "S22")


class VirtualLibreVna:
    """LibreVNA-GUI with a device. RF is on while it sweeps.

    For `stale_s` after a trigger it still calls the sweep before finished and shows its traces. It starts to sweep by
    itself, as the GUI does, when `engine.rf_on` is set. `calibration` is what is active, `device` the serial number,
    empty when none is plugged in; `flags` are the status flags by name, `temperatures_c` what `TEMP?` tells.
    """

    identity = "LibreVNA,LibreVNA-GUI,VIRTUAL,1.6.1"

    def __init__(self, engine: Engine, *, stale_s: float = 0.0, device: str = "206039903350") -> None:
        self.engine = engine
        self.tree = ScpiTree()
        self.flags = {"UNLOcked": False, "ADCOVERload": False, "UNLEVel": False}
        self.temperatures_c = (45, 51, 31)
        self._stale_s = stale_s
        self._device = device
        self._connected = False
        self._single = False
        self._mode = "VNA"
        self._generator_port = 0
        self._begun_s = -float("inf")
        self._axis_hz: Real = np.zeros(0)
        self._shown: tuple[Real, Complex] = (self._axis_hz, self.engine.latest())
        self._add_device()
        self._add_sweep()

    def execute(self, message: bytes) -> bytes | None:
        """Carry out a message (without or with its terminator) and return the reply or None."""
        reply = self.tree.execute(message)
        return None if reply is None else reply + b"\n"

    # ------------------------------------------------------------------------------------------------ table

    def _add_device(self) -> None:
        hardware = self.engine.hardware
        self.tree.add("*IDN?", lambda _: self.identity)
        self.tree.add("*CLS", lambda _: self.tree.clear())
        self.tree.add("*ESR?", lambda _: self.tree.take_event_status())
        self.tree.add("DEVice:CONNect", self._connect)
        self.tree.add("DEVice:CONNect?", lambda _: self._device if self._connected else "Not connected")
        self.tree.add("DEVice:INFo:FWREVision?", lambda _: "1.6.1")
        self.tree.add("DEVice:INFo:TEMPeratures?", lambda _: "/".join(map(str, self.temperatures_c)))
        limits = {
            "MINFrequency": hardware.frequency_hz[0],
            "MAXFrequency": hardware.frequency_hz[1],
            "MINPOWer": hardware.power_dbm[0],
            "MAXPOWer": hardware.power_dbm[1],
            "MINIFBW": hardware.if_bandwidth_hz[0],
            "MAXIFBW": hardware.if_bandwidth_hz[1],
            "MAXPoints": hardware.most_points,
        }
        for name, limit in limits.items():
            self.tree.add(f"DEVice:INFo:LIMits:{name}?", lambda _, limit=limit: f"{limit:.12g}")
        for flag in self.flags:
            self.tree.add(f"DEVice:STAtus:{flag}?", lambda _, flag=flag: self._flag(flag))
        self.tree.add("DEVice:MODE", self._choose_mode)
        self.tree.add("DEVice:MODE?", lambda _: self._mode)
        self.tree.add("GENerator:PORT", self._choose_generator_port)
        self.tree.add("GENerator:PORT?", lambda _: str(self._generator_port))

    def _add_sweep(self) -> None:
        hardware = self.engine.hardware
        self._add_number("VNA:FREQuency:START", "start_hz", hardware.frequency_hz)
        self._add_number("VNA:FREQuency:STOP", "stop_hz", hardware.frequency_hz)
        self._add_number("VNA:ACQuisition:POINTS", "points", (1, hardware.most_points))
        self._add_number("VNA:ACQuisition:IFBW", "if_bandwidth_hz", hardware.if_bandwidth_hz)
        self._add_number("VNA:ACQuisition:AVG", "averages", (1, 99))
        self._add_number("VNA:STIMulus:LVL", "power_dbm", hardware.power_dbm)
        self.tree.add("VNA:SWEEP", lambda call: self._only(call, "FREQUENCY"))
        self.tree.add("VNA:SWEEPTYPE", lambda call: self._only(call, "LIN"))
        self.tree.add("VNA:ACQuisition:SINGLE", self._trigger)
        self.tree.add("VNA:ACQuisition:RUN", lambda _: self._run(single=False))
        self.tree.add("VNA:ACQuisition:RUN?", lambda _: _truth(self._radiates()))
        self.tree.add("VNA:ACQuisition:STOP", lambda _: self._stop())
        self.tree.add("VNA:ACQuisition:FINished?", lambda _: _truth(self._finished()))
        self.tree.add("VNA:TRACe:LIST?", lambda _: ",".join(PARAMETERS))
        self.tree.add("VNA:TRACe:DATA?", self._trace)
        self.tree.add("VNA:CALibration:ACTIVE?", lambda _: "SOLT_12" if self.engine.corrected else "None")

    def _add_number(self, header: str, attribute: str, allowed: tuple[float, float]) -> None:
        low, high = allowed

        def store(call: Call) -> None:
            value = call.number()
            if not low <= value <= high:
                raise ScpiError(-100, "Command error")
            setattr(self.engine, attribute, int(value) if attribute in ("points", "averages") else value)
            if self._radiates():
                self._run(single=self._single)

        self.tree.add(header, store)
        self.tree.add(header + "?", lambda _: f"{getattr(self.engine, attribute):.12g}")

    # ------------------------------------------------------------------------------------------------ behaviour

    def _connect(self, call: Call) -> None:
        wanted = call.text() if call.parameters else self._device
        self._connected = bool(self._device) and wanted == self._device
        if not self._connected:
            raise ScpiError(-100, "Command error")

    def _choose_mode(self, call: Call) -> None:
        if call.text().upper() not in ("VNA", "GEN", "SA"):
            raise ScpiError(-100, "Command error")
        self._mode = call.text().upper()

    def _choose_generator_port(self, call: Call) -> None:
        self._generator_port = int(call.number())

    def _only(self, call: Call, word: str) -> None:
        if call.text().upper() != word:
            raise ScpiError(-100, "Command error")

    def _flag(self, name: str) -> str:
        if name == "ADCOVERload":
            self._update()
            return _truth(self.engine.take_overload() or self.flags[name])
        return _truth(self.flags[name])

    def _trigger(self, call: Call) -> None:
        if call.flag():
            self._run(single=True)

    def _run(self, *, single: bool) -> None:
        self._update()
        self._single = single
        self._begun_s = time.monotonic()
        self._axis_hz = self.engine.frequencies_hz
        self.engine.rf_on = True
        self.engine.begin(self.engine.averages)
        self._update()

    def _stop(self) -> None:
        self.engine.abort()
        self.engine.rf_on = False

    def _update(self) -> None:
        """Show the traces of a sweep that has ended, once the news is out; a single one ends RF."""
        if time.monotonic() - self._begun_s < self._stale_s or self.engine.busy:
            return
        if self.engine.latest().size:
            self._shown = (self._axis_hz, self.engine.latest())
        if self._single:
            self.engine.rf_on = False

    def _radiates(self) -> bool:
        self._update()
        return self.engine.rf_on

    def _finished(self) -> bool:
        self._update()
        stale = time.monotonic() - self._begun_s < self._stale_s
        return self.engine.sweeps_made > 0 and (stale or not self.engine.busy)

    def _trace(self, call: Call) -> str:
        self._update()
        parameter = call.text().upper()
        if parameter not in PARAMETERS:
            raise ScpiError(-100, "Command error")
        axis_hz, matrices = self._shown
        values = matrices[:, int(parameter[1]) - 1, int(parameter[2]) - 1]
        rows = zip(axis_hz.tolist(), values.tolist(), strict=True)
        return ",".join(f"[{hz:.6g},{value.real:.6g},{value.imag:.6g}]" for hz, value in rows)


def _truth(value: bool) -> str:
    return "TRUE" if value else "FALSE"
