"""An HTTP proxy on loopback that a test makes slow, failing or absent."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.cli import free_port

LOOPBACK = "127.0.0.1"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Proxy:
    """An HTTP proxy in front of one server, which a test makes fail; begins by passing on.

    url: its own address, which stays the same.
    """

    def __init__(self, target: str):
        self._target = urlsplit(target)
        self._seconds = 0.0
        self._error: int | None = None
        self._lose, self._path = False, ""
        self._server: _Server | None = None
        self._port = free_port()
        self.url = f"http://{LOOPBACK}:{self._port}"

    def pass_on(self) -> None:
        """Hand every request to the server."""
        self._behave()

    def slow(self, seconds: float, path: str = "") -> None:
        """Wait so long before each request is handed on, of those with `path` in their address.

        A client that waits less is gone by then; the server carries its request out all the same.
        """
        self._behave(seconds=seconds, path=path)

    def lose_answers(self, path: str = "", status: int | None = None) -> None:
        """Hand each request on, and keep the answer: cut the connection, or answer with a status.

        path: only requests with this in their address; others are answered.
        """
        self._behave(lose=True, error=status, path=path)

    def error(self, status: int = 500) -> None:
        """Answer every request with this status; the server sees none."""
        self._behave(error=status)

    def down(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request as the test wants it."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        meant = self._path in handler.path
        lose, error = meant and self._lose, self._error if meant else None
        if error is not None and not lose:
            _send(handler, error, {"Content-Type": "text/plain"}, b"made to fail by a test")
            return
        time.sleep(self._seconds if meant else 0.0)
        assert self._target.hostname is not None
        sent = {k: v for k, v in handler.headers.items() if k.lower() not in HOP_BY_HOP}
        connection = http.client.HTTPConnection(self._target.hostname, self._target.port)
        try:
            connection.request(handler.command, handler.path, body or None, sent)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            _send(handler, 502, {"Content-Type": "text/plain"}, repr(error).encode())
            return
        finally:
            connection.close()
        if lose and error is None:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if lose and error is not None:
            _send(handler, error, {"Content-Type": "text/plain"}, b"made to fail by a test")
            return
        got = {k: v for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP}
        _send(handler, answer.status, got, content)

    def _behave(
        self,
        *,
        seconds: float = 0.0,
        error: int | None = None,
        lose: bool = False,
        path: str = "",
    ) -> None:
        self._seconds, self._error, self._lose, self._path = seconds, error, lose, path
        if self._server is None:
            self._server = _Server(self._port, self)


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """Run a proxy in front of the server at `target`, an address such as `http://host:port`."""
    running = Proxy(target)
    running.pass_on()
    try:
        yield running
    finally:
        running.down()


class _Server(ThreadingHTTPServer):
    """Listens for a proxy, one thread a connection."""

    daemon_threads = True

    def __init__(self, port: int, owner: Proxy):
        self.owner = owner
        self._open: set[socket.socket] = set()
        super().__init__((LOOPBACK, port), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a connection that was cut is what the test wanted."""

    def end(self) -> None:
        """Stop listening, and cut what is open."""
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do_GET(self) -> None:
        self.server.owner.answer(self)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _send(
    handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], content: bytes
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)
