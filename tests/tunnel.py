"""A tunnel on loopback, as users open one to a cluster, whose connections a test cuts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK = "127.0.0.1"


class Tunnel:
    """Passes bytes to a port on loopback and back, from a port of its own."""

    def __init__(self, target: int):
        self._target = target
        self._listening = socket.create_server((LOOPBACK, 0))
        self._open: list[socket.socket] = []
        self.port = self._listening.getsockname()[1]

    def serve(self) -> None:
        """Take connections, until the tunnel is closed."""
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection((LOOPBACK, self._target))
                self._open += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=ends, daemon=True).start()

    def cut(self) -> int:
        """Cut the connections that are open, and return how many that were; new ones are taken."""
        ends, self._open = self._open, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        return len(ends) // 2

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()


@contextmanager
def tunnel(target: int) -> Iterator[Tunnel]:
    """Open a tunnel to a port."""
    opened = Tunnel(target)
    thread = threading.Thread(target=opened.serve)
    thread.start()
    try:
        yield opened
    finally:
        opened.close()
        thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
