"""Which cluster is meant, and what listens where a dashboard should."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from search import dashboard
from search.dashboard import knock, resolve_address
from search.errors import FailedError, UserError
from tests.cli import free_port


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in dashboard.ADDRESSES:
        monkeypatch.delenv(name, raising=False)


class TestAddress:
    @pytest.mark.parametrize(
        ("given", "address"),
        [
            ("http://head:8265", "http://head:8265"),
            ("https://ray.example.com/", "https://ray.example.com"),
            ("head:8265", "http://head:8265"),
            ("http://[::1]:8265", "http://[::1]:8265"),
        ],
    )
    def test_is_the_one_given(
        self, given: str, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://other:8265")
        assert resolve_address(given) == address

    def test_is_else_what_ray_would_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "http://second:8265")
        assert resolve_address(None) == "http://second:8265"
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "first:8265")
        assert resolve_address(None) == "http://first:8265"

    def test_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "head:6379")
        with pytest.raises(UserError, match=r"--address: missing: .*RAY_API_SERVER_ADDRESS"):
            resolve_address(None)

    @pytest.mark.parametrize("given", ["ray://head:10001", "ftp://head", "http://", "http://h:x"])
    def test_must_be_a_web_address(self, given: str) -> None:
        with pytest.raises(UserError, match=f"--address: {given}: must be the web address"):
            resolve_address(given)

    @pytest.mark.parametrize("given", ["http://me:secret@head:8265", "http://me:secret@head:x"])
    def test_with_a_password_is_refused_and_not_shown(self, given: str) -> None:
        with pytest.raises(UserError, match="no password") as refused:
            resolve_address(given)
        assert "secret" not in str(refused.value)


class Page(http.server.BaseHTTPRequestHandler):
    """A web server that is no Ray dashboard."""

    status, text = 200, b"welcome"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent() -> Iterator[str]:
    """Something that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class TestKnock:
    def test_nobody_there(self) -> None:
        with pytest.raises(FailedError, match="nobody listens there; give the port"):
            knock(f"http://127.0.0.1:{free_port()}")

    def test_another_server(self, web: str) -> None:
        with pytest.raises(FailedError, match=f"{web}: is not a Ray dashboard"):
            knock(web)

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_proxy_that_refuses(
        self, web: str, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Page, "status", status)
        with pytest.raises(FailedError, match=rf"else than Ray refuses \({status}\).*NO_PROXY"):
            knock(web)
        # As Ray's dashboard says it (ray/_private/authentication/http_token_authentication.py).
        said = {401: b"Unauthorized: Missing authentication token", 403: b"Forbidden: Invalid "}
        monkeypatch.setattr(Page, "text", said[status] + b"authentication token")
        knock(web)

    def test_no_answer(self, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dashboard, "ANSWER_SECONDS", 0.3)
        with pytest.raises(FailedError, match=f"{silent}: no answer in time"):
            knock(silent)

    def test_unknown_host(self) -> None:
        with pytest.raises(FailedError, match="its host name is not known"):
            knock("http://no-such-host.invalid:8265")

    def test_other_scheme(self, web: str) -> None:
        with pytest.raises(FailedError, match="TLS fails"):
            knock(web.replace("http://", "https://"))
