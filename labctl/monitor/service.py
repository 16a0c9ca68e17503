"""Tells systemd that a service is ready, alive and what it does (sd_notify(3)): datagrams to a socket it names."""

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping


class Service:
    """What this process is to systemd: nothing, unless `environment` names the socket that a unit of type notify has.

    Never raises and never waits: a service manager that does not listen ends nothing.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        # systemd writes an @ for the NUL byte that an abstract address begins with.
        self._address = environment.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._beat_s = int(environment.get("WATCHDOG_USEC", "0")) / 3e6 if watched else 0.0
        self._now_s = now_s
        self._beaten_s = -float("inf")

    def ready(self) -> None:
        """Say that the service has begun its work."""
        self._send("READY=1")

    def says(self, status: str) -> None:
        """Let `systemctl status` show a line."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog, three times as often as it asks for; called at least that often by what must not hang."""
        if self._beat_s and self._now_s() - self._beaten_s >= self._beat_s:
            self._beaten_s = self._now_s()
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if sys.platform == "win32":
            return
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.setblocking(False)
                connection.sendto(message.encode(), self._address)
        except OSError:
            return
