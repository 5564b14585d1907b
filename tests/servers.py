"""Real servers on loopback for tests and benchmarks: PostgreSQL and MLflow.

Whatever these functions start is ended with their `with` block, by its own process id.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from search import tracking_sqlite
from tests.cli import clean_environment, free_port, page, session_members, wait_until
from tests.http_proxy import LOOPBACK

POSTGRES_USER = "metasweep"
UP_SECONDS = 120
DOWN_SECONDS = 30


def postgres_binaries() -> Path | None:
    """Return the folder of PostgreSQL's server binaries, the newest version's; None without."""
    found = [file.parent for file in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda folder: float(folder.parent.name))
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


class Postgres:
    """A PostgreSQL server that demands a password.

    url: of an empty database, with user and password, as SQLAlchemy wants it.
    password: as it is; in `url` it is percent-encoded.
    log: the file that the server writes its messages to.
    """

    def __init__(
        self, binaries: Path, home: Path, log: Path, password: str, owner: str | None, host: str
    ):
        self.password = password
        self._host = host
        self.port = free_port()
        self.log = log
        self.url = self._url("postgres")
        self._binaries = binaries
        self._data = home / "data"
        # initdb and the server refuse to run as root.
        self._as_user: dict[str, Any] = {}
        if owner is not None:
            self._as_user = {"user": owner, "group": pwd.getpwnam(owner).pw_gid, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self._initialize(home / "password")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        command += ["-c", f"listen_addresses={self._host}", "-c", "unix_socket_directories="]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", env={"LC_ALL": "C"}, **self._as_user
            )
        wait_until(self._is_up, UP_SECONDS, f"PostgreSQL: {self.log.read_text()}")

    def stop(self, *, crash: bool = False) -> None:
        """End the server and every connection. crash: as a loss of power would."""
        if self._process is not None:
            _end(self._process, signal.SIGQUIT if crash else signal.SIGINT)
            self._process = None

    def restart(self, *, crash: bool = False) -> None:
        """Stop and start, on the same port and data."""
        self.stop(crash=crash)
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server and all that serve a connection, which stays open, during a block."""
        assert self._process is not None
        leader = self._process.pid
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        pids = [leader, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def create_database(self, name: str) -> str:
        """Create an empty database; return its URL."""
        import psycopg

        with psycopg.connect(self._dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._url(name)

    def _initialize(self, password_file: Path) -> None:
        password_file.write_text(self.password)
        if self._as_user:
            shutil.chown(password_file, self._as_user["user"])
        command = [str(self._binaries / "initdb"), "-D", str(self._data), "--no-sync"]
        command += ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"]
        command += [f"--username={POSTGRES_USER}", f"--pwfile={password_file}"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", env={"LC_ALL": "C"}, **self._as_user
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")
        password_file.unlink()
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet scram-sha-256\n")

    def _is_up(self) -> bool:
        import psycopg

        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {self.log.read_text()}")
        try:
            psycopg.connect(self._dsn()).close()
        except psycopg.OperationalError:
            return False
        return True

    def _url(self, database: str) -> str:
        user = f"{POSTGRES_USER}:{quote(self.password, safe='')}"
        return f"postgresql+psycopg://{user}@{self._host}:{self.port}/{database}"

    def _dsn(self) -> str:
        return self.url.replace("+psycopg", "", 1)


@contextmanager
def postgres(folder: Path, password: str | None = None, host: str = LOOPBACK) -> Iterator[Postgres]:
    """Run PostgreSQL with an empty data folder; its log is written into `folder`.

    password: of its only user; a random one by default.
    host: the address that it listens at; everybody on its network may try a password.
    Raises RuntimeError where the binaries are missing: see `postgres_binaries`.
    """
    binaries = postgres_binaries()
    if binaries is None:
        raise RuntimeError("no PostgreSQL server: install Debian's package postgresql")
    folder.mkdir(parents=True, exist_ok=True)
    # Not in `folder`: pytest's folders can be entered by their owner only, who may be root.
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp") as home:
        owner = _service_user() if os.geteuid() == 0 else None
        if owner is not None:
            shutil.chown(home, owner)
        password = password or secrets.token_urlsafe(12)
        server = Postgres(binaries, Path(home), folder / "postgres.log", password, owner, host)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _service_user() -> str:
    known = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def empty_store(path: Path) -> Path:
    """Make an MLflow database with nothing in it at `path`, which is returned.

    MLflow takes a second of processor time for its migrations: made once, it is copied.
    """
    path.write_bytes(_empty_store())
    return path


@functools.cache
def _empty_store() -> bytes:
    with tempfile.TemporaryDirectory(prefix="mlflow-") as folder:
        path = Path(folder) / "empty.db"
        tracking_sqlite.create(path)
        return path.read_bytes()


class MlflowServer:
    """`mlflow server`. url: its address; log: the file it writes to."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], port: int, host: str, workers: int
    ):
        self.port = port
        self._workers = workers
        self.url = f"http://{host}:{port}"
        self._host = host
        self.log = folder / "mlflow-server.log"
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", str(self._workers)]
        command += ["--host", self._host, "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=clean_environment(self._settings),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._is_up, UP_SECONDS, f"MLflow: see {self.log}")

    def stop(self) -> None:
        """End the server, its worker included."""
        if self._process is not None:
            # The worker would outlive a leader that has to be killed.
            workers = session_members(self._process)
            _end(self._process, signal.SIGTERM)
            for pid in workers.keys() - {self._process.pid}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process = None

    def restart(self) -> None:
        """Stop and start, at the same address."""
        self.stop()
        self.start()

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the MLflow server ended: {self.log.read_text()}")
        return page(f"{self.url}/health") is not None


@contextmanager
def mlflow_server(
    folder: Path,
    backend_uri: str,
    artifacts: Path | str,
    port: int | None = None,
    environment: Mapping[str, str] = {},
    host: str = LOOPBACK,
    workers: int = 1,
) -> Iterator[MlflowServer]:
    """Run an MLflow server on a database; it hands artifacts through to where they are kept.

    folder: where it runs and logs. artifacts: a folder, or a URI such as `s3://bucket/path`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        # Not on the command line, which every user of the machine can read.
        "MLFLOW_BACKEND_STORE_URI": backend_uri,
        "MLFLOW_ARTIFACTS_DESTINATION": str(artifacts),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment = {**settings, **environment}
    server = MlflowServer(folder, environment, port or free_port(), host, workers)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _end(process: subprocess.Popen[bytes], first: signal.Signals) -> None:
    process.send_signal(first)
    try:
        process.wait(DOWN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
