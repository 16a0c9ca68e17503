"""A device on a TCP connection without messages: what arrives at once is handed over at once."""

import socket

from labctl_simulators.instruments.servers.tcp_server import TcpServer, end_connection
from labctl_simulators.instruments.servers.wire_faults import delivery


class StreamSocketServer(TcpServer):
    """Serves bytes as they come; a fault befalls the next answer."""

    @property
    def address(self) -> str:
        """Return the VISA address a client opens."""
        return f"TCPIP::{self._host}::{self.port}::SOCKET"

    def serve(self, connection: socket.socket) -> None:
        """Answer whatever arrives until the connection ends."""
        while received := connection.recv(1 << 16):
            with self._handling:
                answer = self._handler(received)
            if answer:
                what = delivery(answer, self.faults.next())
                connection.sendall(what.first)
                self.pause(what.pause_s)
                connection.sendall(what.rest)
                if what.end != "none":
                    end_connection(connection, what.end)
