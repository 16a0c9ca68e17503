"""Bytes over a serial port through pyserial: shells with prompt and echo, ASCII lines, binary registers and frames."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import serial

from labctl_drivers.transport.byte_log import ByteLog
from labctl_drivers.transport.journal import Journal, shown
from labctl_drivers.transport.link import (
    LinkError,
    LinkGarbledError,
    LinkLostError,
    LinkRefusedError,
    LinkTimeoutError,
)
from labctl_drivers.transport.policy import LinkCounts, attempted
from labctl_drivers.transport.settings import SerialSettings

_POLL_S = 0.05
_QUIET_S = 0.05
_PROBE_EVERY_S = 0.5


@dataclass(frozen=True)
class Ready:
    """How a device shows that it listens: `answer` is somewhere in what it sends.

    With a `probe` it is asked, at opening and again after a fault; the probe must be harmless at any moment. Without
    one it says so itself when it starts (a banner), and a fault is followed by reopening the port.
    """

    answer: bytes
    probe: bytes = b""


class SerialLink:
    """A link for requests and replies in bytes. Thread-safe; constructed without touching hardware.

    After a fault the next request first waits for silence, discards what came, and makes sure of `ready`; a port that
    was lost is reopened. Without `ready` there is silence only: a device whose frames carry no check then has to be
    brought into step by its driver.
    """

    def __init__(
        self, settings: SerialSettings, name: str, *, ready: Ready | None = None, log: ByteLog | None = None
    ) -> None:
        self.settings = settings
        self._journal = Journal(name, log)
        self._ready = ready
        self._lock = threading.Lock()
        self._port: serial.Serial | None = None
        self._is_open = False
        self._in_step = False
        self._lost = False

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._journal.name

    @property
    def counts(self) -> LinkCounts:
        """Return what has gone wrong so far."""
        return self._journal.counts

    def open(self) -> None:
        """Open the port for this process alone and wait for the device. Raises `LinkError`. Idempotent.

        A failed `open` leaves nothing connected.
        """
        with self._lock:
            if self._is_open:
                return
            self._journal.command = "open"
            self._reopen()
            self._is_open = self._in_step = True

    def write(self, request: bytes) -> None:
        """Send bytes that have no reply. Raises `LinkError`."""
        with self._exchange(request, None):
            self._send(request)

    def exchange(self, request: bytes, *, n_bytes: int, timeout_s: float | None = None) -> bytes:
        """Return the reply, exactly `n_bytes` long. Raises `LinkError`."""
        with self._exchange(request, timeout_s) as deadline_s:
            self._send(request)
            reply = bytearray()
            while len(reply) < n_bytes:
                reply += self._receive(n_bytes - len(reply), deadline_s, reply)
            self._journal.note("received", reply)
            return bytes(reply)

    def exchange_until(self, request: bytes, terminator: bytes, *, timeout_s: float | None = None) -> bytes:
        """Return the reply up to `terminator`, which ends it and is left out. Raises `LinkError`."""
        with self._exchange(request, timeout_s) as deadline_s:
            self._send(request)
            reply = bytearray()
            end = -1
            while end < 0:
                searched = max(0, len(reply) - len(terminator))
                reply += self._receive_waiting(deadline_s, reply)
                end = reply.find(terminator, searched)
            if end + len(terminator) < len(reply):
                self._journal.note("discarded", reply)
                raise self._journal.fault(
                    LinkGarbledError, f"{bytes(reply[end + len(terminator) :][:40])!r} follows the reply"
                )
            self._journal.note("received", reply)
            return bytes(reply[:end])

    def command(self, request: bytes, *, acknowledgement: bytes, timeout_s: float | None = None) -> None:
        """Send a request that is answered by `acknowledgement` alone. `LinkGarbledError` for any other answer."""
        with self._exchange(request, timeout_s) as deadline_s:
            self._send(request)
            reply = bytearray()
            while len(reply) < len(acknowledgement):
                reply += self._receive(len(acknowledgement) - len(reply), deadline_s, reply)
                if not acknowledgement.startswith(reply):
                    self._journal.note("discarded", reply)
                    raise self._journal.fault(LinkGarbledError, f"answered {bytes(reply)!r}, not {acknowledgement!r}")
            self._journal.note("received", reply)

    def close(self) -> None:
        """Release the port. Idempotent; never raises."""
        with self._lock:
            self._is_open = False
            self._hang_up()

    @contextmanager
    def _exchange(self, request: bytes, timeout_s: float | None) -> Generator[float]:
        """Hold the port for one exchange and yield its deadline; what goes wrong leaves the link out of step."""
        with self._lock:
            self._journal.command = shown(request)
            if not self._is_open:
                raise self._journal.fault(LinkRefusedError, "the link is not open")
            try:
                if not self._in_step:
                    self._recover()
                # Whatever ends the exchange early, an interrupt included, leaves this behind.
                self._in_step = False
                self._refuse_unread()
                yield time.monotonic() + (self.settings.timeout_s if timeout_s is None else timeout_s)
                self._in_step = True
            except LinkError as error:
                self._lost = self._lost or isinstance(error, (LinkLostError, LinkRefusedError))
                self._journal.count(error)
                raise

    def _recover(self) -> None:
        attempted(self._back_in_step, self.settings.recovery, time.sleep)
        self.counts.recoveries += 1

    def _back_in_step(self) -> None:
        says_so_itself = self._ready is not None and not self._ready.probe
        if self._lost or says_so_itself or self._port is None:
            self._reopen()
        else:
            self._wait_until_ready(time.monotonic() + self.settings.timeout_s)

    def _reopen(self) -> None:
        self._hang_up()
        port = serial.Serial(timeout=_POLL_S, write_timeout=self.settings.timeout_s, exclusive=True)
        port.port, port.baudrate = self.settings.port, self.settings.baud
        if self.settings.dtr is not None:
            port.dtr = self.settings.dtr
        try:
            port.open()
        except (OSError, ValueError) as error:
            raise self._journal.fault(LinkRefusedError, f"cannot open {self.settings.port}: {error}") from error
        self._port = port
        try:
            self._wait_until_ready(time.monotonic() + self.settings.open_timeout_s)
        except BaseException:
            self._hang_up()
            raise
        self._lost = False
        self._journal.note("opened", self.settings.port.encode())

    def _hang_up(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            with suppress(OSError):
                port.close()

    def _wait_until_ready(self, deadline_s: float) -> None:
        """Wait for the device's word, asking for it if it has to be asked, then for silence. Raises `LinkError`."""
        ready = self._ready
        if ready is not None:
            if ready.probe:
                self._wait_for_silence(deadline_s)
            heard = bytearray()
            asked_s = float("-inf")
            while ready.answer not in heard:
                if ready.probe and time.monotonic() - asked_s > _PROBE_EVERY_S:
                    asked_s = time.monotonic()
                    self._send(ready.probe)
                if time.monotonic() > deadline_s:
                    raise self._journal.fault(
                        LinkTimeoutError, f"the device does not say {ready.answer!r}, only {heard[:40]!r}"
                    )
                heard += self._waiting()
        self._wait_for_silence(deadline_s)

    def _wait_for_silence(self, deadline_s: float) -> None:
        heard = bytearray()
        quiet_s = time.monotonic()
        while time.monotonic() - quiet_s < _QUIET_S:
            if part := self._waiting():
                heard += part
                quiet_s = time.monotonic()
            if time.monotonic() > deadline_s:
                raise self._journal.fault(LinkGarbledError, f"the device does not fall silent: {heard[-40:]!r}")
        if heard:
            self._journal.note("discarded", heard)

    def _refuse_unread(self) -> None:
        with self._mapped() as port:
            unread = port.read(port.in_waiting)
        if unread:
            self._journal.note("discarded", unread)
            raise self._journal.fault(LinkGarbledError, f"out of step: {unread[:40]!r} was waiting before the request")

    def _send(self, request: bytes) -> None:
        with self._mapped() as port:
            port.write(request)
        self._journal.note("sent", request)

    def _waiting(self) -> bytes:
        """Return what has arrived, or what arrives within a short time."""
        with self._mapped() as port:
            return port.read(max(1, port.in_waiting))

    def _receive_waiting(self, deadline_s: float, so_far: bytearray) -> bytes:
        part = self._waiting()
        self._expect_in_time(part, deadline_s, so_far)
        return part

    def _receive(self, n_bytes: int, deadline_s: float, so_far: bytearray) -> bytes:
        with self._mapped() as port:
            part = port.read(n_bytes)
        self._expect_in_time(part, deadline_s, so_far)
        return part

    def _expect_in_time(self, part: bytes, deadline_s: float, so_far: bytearray) -> None:
        if time.monotonic() > deadline_s:
            self._journal.note("discarded", so_far)
            raise self._journal.fault(
                LinkTimeoutError, f"no more than {len(so_far) + len(part)} bytes of the reply in time"
            )

    @contextmanager
    def _mapped(self) -> Generator[serial.Serial]:
        """Yield the port; turn whatever comes out of it into a `LinkError`."""
        if self._port is None:
            raise self._journal.fault(LinkLostError, "the port is not open")
        try:
            yield self._port
        except serial.SerialTimeoutException as error:
            raise self._journal.fault(LinkTimeoutError, "the device does not take the request") from error
        except OSError as error:  # SerialException is one
            raise self._journal.fault(LinkLostError, f"the port is gone: {error}") from error
