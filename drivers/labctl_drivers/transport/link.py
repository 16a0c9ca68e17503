"""A link to one instrument: who uses it asks, and gets that answer or a distinct error, never another's answer."""

from typing import Literal, Protocol

from labctl.contract.errors import InstrumentError


class LinkError(InstrumentError):
    """The link failed: which class says how. The next query first resynchronises or reopens, and identifies again."""


class LinkRefusedError(LinkError):
    """Nothing accepts a connection there, or somebody else holds it."""


class LinkTimeoutError(LinkError):
    """No answer, or not all of it, in time."""


class LinkLostError(LinkError):
    """The peer closed or reset the connection, or the cable was unplugged."""


class LinkGarbledError(LinkError):
    """What arrived is not what the instrument's manual lets arrive: a bad header, a short or long block, garbage."""


class Link(Protocol):
    """A message link (SCPI): text commands, text replies and IEEE 488.2 definite-length blocks. Thread-safe."""

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        ...

    @property
    def address(self) -> str:
        """Return the instrument's address as the rig file spells it."""
        ...

    def open(self) -> None:
        """Connect. Raises `LinkError`; a failed `open` leaves nothing connected."""
        ...

    def write(self, command: str) -> None:
        """Send a command that has no reply. Raises `LinkError`."""
        ...

    def write_now(self, command: str) -> None:
        """Send a command that makes safe, cutting off an exchange that another thread waits for. Raises `LinkError`."""
        ...

    def query(self, command: str, *, timeout_s: float | None = None) -> str:
        """Return the reply to a command, without its terminator; `timeout_s` replaces the link's own. `LinkError`."""
        ...

    def query_block(
        self,
        command: str,
        *,
        n_bytes: int,
        terminator: Literal["required", "none", "maybe"] = "required",
        timeout_s: float | None = None,
    ) -> memoryview:
        """Return the payload of the block that answers a command, exactly `n_bytes` long. Raises `LinkError`."""
        ...

    def close(self) -> None:
        """Release the connection. Idempotent; never raises."""
        ...


class ByteLink(Protocol):
    """A stream link (serial) to an instrument with a protocol of its own: bytes out, bytes back. Thread-safe."""

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        ...

    def open(self) -> None:
        """Connect, throw away what waits to be read. Raises `LinkError`; a failed `open` leaves nothing connected."""
        ...

    def exchange(self, request: bytes, *, n_bytes: int, timeout_s: float | None = None) -> bytes:
        """Send `request` and return the `n_bytes` that answer it, none for 0: never fewer. Raises `LinkError`."""
        ...

    def exchange_until(self, request: bytes, terminator: bytes, *, timeout_s: float | None = None) -> bytes:
        """Send `request` and return what comes before `terminator`. Raises `LinkError`."""
        ...

    def close(self) -> None:
        """Release the connection. Idempotent; never raises."""
        ...
