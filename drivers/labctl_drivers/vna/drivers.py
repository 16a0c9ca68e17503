"""The network analysers that a rig file can name."""

from collections.abc import Callable
from typing import TypeVar

from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl_drivers.transport.build import build_byte_log, build_link
from labctl_drivers.transport.link import ByteLink
from labctl_drivers.transport.serial_link import Ready, SerialLink
from labctl_drivers.transport.settings import LinkSettings, SerialSettings
from labctl_drivers.vna.base import Analyser
from labctl_drivers.vna.copper_mountain import CopperMountain
from labctl_drivers.vna.keysight_ena import KeysightEna
from labctl_drivers.vna.keysight_pna import KeysightPna, KeysightPnaRules
from labctl_drivers.vna.librevna import LibreVna, LibreVnaRules
from labctl_drivers.vna.nanovna import NanoVnaRules
from labctl_drivers.vna.nanovna_binary import INDICATE, INDICATED, RESET, NanoVnaBinary
from labctl_drivers.vna.nanovna_shell import PROMPT, NanoVnaShell
from labctl_drivers.vna.rohde_schwarz import RohdeSchwarz
from labctl_drivers.vna.settings import AnalyserRules

LinkSettingsT = TypeVar("LinkSettingsT", bound=LinkSettings)


class AnalyserSettings(LinkSettings, AnalyserRules):
    """A network analyser: where it is, and what this rig allows it.

    `max_power` protects what hangs on the ports: no sweep above it is sent. With `correction: required` uncorrected
    data are an error. A sweep has `sweep_margin` times its nominal duration and `timeout` to end, after an external
    trigger for which `trigger_wait` is waited. `simulated` says that a simulator answers; one that answers where this
    is not said is refused.
    """


class KeysightPnaSettings(AnalyserSettings, KeysightPnaRules):
    """A Keysight PNA. `trigger_input` is the connector of an external trigger: MAIN is Meas Trig In."""


class LibreVnaSettings(AnalyserSettings, LibreVnaRules):
    """A LibreVNA behind the SCPI server of its GUI: `TCPIP::HOST::19542::SOCKET`.

    `serial_number` says which one, if more are connected; above `max_temperature` a sweep is an error.
    """


class NanoVnaSettings(SerialSettings, NanoVnaRules):
    """A NanoVNA, whose `output_power` cannot be set, and sweeps at most `max_points` at once.

    `if_bandwidth` is that of a firmware that cannot set one.
    """


def _on_message_link(
    settings: type[LinkSettingsT], analyser: Callable[..., Analyser]
) -> InstrumentDriver[LinkSettingsT]:
    def build(settings: LinkSettingsT, context: BuildContext) -> Analyser:
        return analyser(settings, context.name, build_link(settings, context), timeout_s=settings.timeout_s)

    return InstrumentDriver(settings, build)


def _on_serial_link(analyser: Callable[..., Analyser], ready: Ready) -> InstrumentDriver[NanoVnaSettings]:
    def build(settings: NanoVnaSettings, context: BuildContext) -> Analyser:
        log = build_byte_log(settings.byte_log, context)
        link: ByteLink = SerialLink(settings, context.name, ready=ready, log=log)
        return analyser(settings, context.name, link, timeout_s=settings.timeout_s)

    return InstrumentDriver(NanoVnaSettings, build)


KEYSIGHT_PNA = _on_message_link(KeysightPnaSettings, KeysightPna)
KEYSIGHT_ENA = _on_message_link(AnalyserSettings, KeysightEna)
ROHDE_SCHWARZ = _on_message_link(AnalyserSettings, RohdeSchwarz)
COPPER_MOUNTAIN = _on_message_link(AnalyserSettings, CopperMountain)
LIBREVNA = _on_message_link(LibreVnaSettings, LibreVna)
NANOVNA = _on_serial_link(NanoVnaShell, Ready(PROMPT, probe=b"\r"))
NANOVNA_V2 = _on_serial_link(NanoVnaBinary, Ready(INDICATED, probe=RESET + INDICATE))
