"""What a rig file says of a link. An instrument's settings inherit from one of these models."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from labctl.contract.driver import Settings
from labctl.contract.units import Seconds
from labctl_drivers.transport.policy import Recovery

Timeout = Annotated[Seconds, Field(gt=0, le=86400)]

_SOCKET = re.compile(r"TCPIP\d*::(?P<host>[^:\s]+)::(?P<port>\d{1,5})::SOCKET", re.IGNORECASE)
_VISA = re.compile(r"(TCPIP|USB|GPIB)\d*::\S+", re.IGNORECASE)
_SERIAL = re.compile(r"ASRL(?P<port>[^:\s]+)(::INSTR)?", re.IGNORECASE)


class ByteLogSettings(Settings):
    """A record of what went over the wire. Of a file that is full, the newest whole part and the one before remain."""

    file: str | None = Field(default=None, description="where it is also written, relative to the rig file")
    size_mb: float = Field(default=16.0, gt=0, le=4096, description="bound in memory, and of each of the file's parts")


class _AnyLinkSettings(Settings):
    timeout_s: Timeout = Field(alias="timeout", default=5.0, description="for an answer, unless a driver knows better")
    open_timeout_s: Timeout = Field(alias="open_timeout", default=5.0, description="until the instrument is reached")
    recovery: Recovery = Recovery()
    byte_log: ByteLogSettings | None = None


class LinkSettings(_AnyLinkSettings):
    """A message link (SCPI); the address says which transport it takes.

    `TCPIP::HOST::PORT::SOCKET` is a raw socket. `TCPIP::HOST::hislip0::INSTR`, `TCPIP::HOST::inst0::INSTR` (VXI-11),
    `USB…` and `GPIB…` go through PyVISA.
    """

    address: str = Field(examples=["TCPIP::192.168.0.9::5025::SOCKET", "TCPIP::192.168.0.9::hislip0::INSTR"])
    backend: str | None = Field(
        default=None, description="PyVISA's backend for addresses other than SOCKET: @py (pyvisa-py) unless given"
    )
    identify: str | None = Field(default="*IDN?", description="query whose answer must not change; null where none is")

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        if _SOCKET.fullmatch(address):
            if not 0 < int(_socket_parts(address)[1]) < 65536:
                raise ValueError(f"'{address}': a port is 1 to 65535")
        elif not (_VISA.fullmatch(address) and address.upper().endswith("::INSTR")):
            raise ValueError(
                f"'{address}' is no address of a message link; expected TCPIP::HOST::PORT::SOCKET, "
                "TCPIP::HOST::hislip0::INSTR, TCPIP::HOST::inst0::INSTR, USB…::INSTR or GPIB…::INSTR"
            )
        return address

    @model_validator(mode="after")
    def _backend_is_used(self) -> "LinkSettings":
        if self.backend is not None and self.transport == "socket":
            raise ValueError("`backend` belongs to addresses that PyVISA opens; a SOCKET address needs none")
        return self

    @property
    def transport(self) -> Literal["socket", "visa"]:
        """Return what the address asks for."""
        return "socket" if _SOCKET.fullmatch(self.address) else "visa"

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Return where a SOCKET address points to."""
        host, port = _socket_parts(self.address)
        return host, int(port)


class SerialSettings(_AnyLinkSettings):
    """A serial port: `ASRL/dev/ttyUSB0::INSTR`, or `ASRL3::INSTR` for COM3."""

    address: str = Field(examples=["ASRL/dev/ttyUSB0::INSTR"])
    baud: int = Field(default=115200, ge=50, le=12_000_000)
    dtr: bool | None = Field(
        default=None,
        description="level of DTR from opening on; many boards reset when it rises, so false keeps them up",
    )

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        if not _SERIAL.fullmatch(address):
            raise ValueError(
                f"'{address}' is no address of a serial port; expected ASRL/dev/ttyUSB0::INSTR or the like"
            )
        return address

    @property
    def port(self) -> str:
        """Return the port as the operating system names it."""
        match = _SERIAL.fullmatch(self.address)
        port = match["port"] if match else self.address
        return f"COM{port}" if port.isdecimal() else port


class StreamSettings(_AnyLinkSettings):
    """A TCP connection to an instrument with a protocol of its own: `TCPIP::HOST::PORT::SOCKET`."""

    address: str = Field(examples=["TCPIP::192.168.4.1::13591::SOCKET"])

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        if not _SOCKET.fullmatch(address) or not 0 < int(_socket_parts(address)[1]) < 65536:
            raise ValueError(f"'{address}' is no address of a TCP connection; expected TCPIP::HOST::PORT::SOCKET")
        return address

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Return where the address points to."""
        host, port = _socket_parts(self.address)
        return host, int(port)


def _socket_parts(address: str) -> tuple[str, str]:
    match = _SOCKET.fullmatch(address)
    if match is None:
        raise ValueError(f"'{address}' is no SOCKET address")
    return match["host"], match["port"]
