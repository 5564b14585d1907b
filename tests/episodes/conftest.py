"""Real Omniglot, decoded once a test run; a web server; Python processes beside the test."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from episodes import load
from episodes.episode import TaskDistribution

Serve = Callable[..., AbstractContextManager[tuple[str, list[str]]]]
StartPython = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shared_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the code under test use what other tests have decoded."""
    monkeypatch.setenv("METASWEEP_CACHE", str(session_cache))
    return session_cache


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the code under test start from nothing, as on a new machine without a data folder."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("METASWEEP_CACHE", str(cache))
    monkeypatch.delenv("METASWEEP_DATA", raising=False)
    return cache


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a file one that may not be opened, even by root, who may open all."""
    forbidden: set[Path] = set()
    opened = Path.open

    def open_allowed(path: Path, *arguments: Any, **named: Any) -> Any:
        if path in forbidden:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", open_allowed)
    return forbidden.add


@pytest.fixture(scope="session")
def omniglot(data_folder: Path, session_cache: Path) -> TaskDistribution:
    return _omniglot("vinyals", data_folder, session_cache)


@pytest.fixture(scope="session")
def omniglot_lake(data_folder: Path, session_cache: Path) -> TaskDistribution:
    return _omniglot("lake", data_folder, session_cache)


@pytest.fixture
def real(data_folder: Path) -> Callable[[str], Path]:
    """Return a folder of real data by its name; skip where it is missing, but not in CI."""

    def folder(name: str) -> Path:
        if not (data_folder / name).is_dir():
            reason = f"no {name} in {data_folder}: set METASWEEP_DATA"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        return data_folder / name

    return folder


def _omniglot(split: str, data: Path, cache: Path) -> TaskDistribution:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METASWEEP_CACHE", str(cache))
        return load("omniglot", ways=5, shots=1, query_shots=15, split=split, data=data)


@pytest.fixture
def start_python() -> StartPython:
    """Start Python code with arguments at the root of the tree, its input and output piped."""

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return _serve


@contextmanager
def _serve(
    files: Mapping[str, bytes],
    cut_after: int | None = None,
    ranges: bool = True,
    length: bool = True,
    encodes: bool = False,
) -> Iterator[tuple[str, list[str]]]:
    """Serve files by name; yield the address and the list of names asked for so far.

    cut_after: hang up after so many bytes, having promised all of them.
    ranges: whether the rest of a file may be asked for; it is then listed as "name@first byte".
    length: whether it says how long a file is.
    encodes: whether files, which are packed by gzip, are labelled as encoded so where that is
        allowed; a client then unpacks them.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            wanted = self.headers.get("Range", "bytes=0-") if ranges else "bytes=0-"
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            asked.append(f"{name}@{first}" if first else name)
            if name not in files:
                self.send_error(404)
                return
            content = files[name][first:]
            if not content:
                self.send_error(416)
                return
            self.send_response(206 if first else 200)
            if length:
                self.send_header("Content-Length", str(len(content)))
            if encodes and "gzip" in self.headers.get("Accept-Encoding", "gzip"):
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(content[:cut_after])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
