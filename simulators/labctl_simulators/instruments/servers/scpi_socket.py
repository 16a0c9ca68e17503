"""An instrument on a raw SCPI socket: one line in, one answer out."""

import socket

from labctl_simulators.instruments.servers.tcp_server import TcpServer, end_connection
from labctl_simulators.instruments.servers.wire_faults import Delivery, delivery

_MAX_LINE = 1 << 24


class ScpiSocketServer(TcpServer):
    """Serves lines that end with a newline."""

    @property
    def address(self) -> str:
        """Return the VISA address a client opens."""
        return f"TCPIP::{self._host}::{self.port}::SOCKET"

    def serve(self, connection: socket.socket) -> None:
        """Answer line by line until the connection ends."""
        unread = bytearray()
        while len(unread) < _MAX_LINE:
            received = connection.recv(1 << 16)
            if not received:
                return
            unread += received
            *lines, rest = unread.split(b"\n")
            unread = bytearray(rest)
            for line in lines:
                answer = self.answered(bytes(line))
                if answer is not None:
                    self._deliver(connection, delivery(answer, self.faults.next()))

    def _deliver(self, connection: socket.socket, what: Delivery) -> None:
        connection.sendall(what.first)
        if what.rest:
            self.pause(what.pause_s)
            connection.sendall(what.rest)
        if what.end != "none":
            end_connection(connection, what.end)
