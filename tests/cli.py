"""Runs the command line as users do: in this process, or in processes of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from search import cli

PYTHON_M = (sys.executable, "-m", "search")
INSTALLED = (str(Path(sys.executable).with_name("metasweep")),)

# What a developer's shell may hold and a test must not depend on.
LEFT_OUT = (
    "MLFLOW_TRACKING_URI",
    "METASWEEP_DATA",
    "METASWEEP_STORAGE",
    "METASWEEP_STUDY_URL",
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
)

SETTINGS = {"COLUMNS": "160", "TERM": "dumb", "OMP_NUM_THREADS": "1"}

# What a command in a process of its own may take.
SECONDS = 400

# What keeps a ready-made search short, beside few trials and episodes.
SMALL = (
    "--set=budget.first_rung=null",
    "--set=problem.evaluation.rung_episodes=20",
    "--set=problem.evaluation.ranking_episodes=40",
    "--set=problem.evaluation.test_episodes=50",
)


class Done(NamedTuple):
    """How a command ended; `output` also holds what it wrote to stderr, `errors` only that."""

    code: int
    output: str
    errors: str = ""


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command, without what a developer's shell may hold."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return {**kept, **SETTINGS, **more}


def call(*arguments: str, folder: Path, environment: Mapping[str, str] = {}) -> Done:
    """Run a command in this process, as `main` does, in a folder."""
    output, errors = io.StringIO(), io.StringIO()
    code = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["metasweep", *arguments])
        for name in LEFT_OUT:
            patch.delenv(name, raising=False)
        for name, value in {**SETTINGS, **environment}.items():
            patch.setenv(name, value)
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Done(code, output.getvalue() + errors.getvalue(), errors.getvalue())


def run(
    *arguments: str,
    folder: Path,
    command: tuple[str, ...] = PYTHON_M,
    environment: Mapping[str, str] = {},
    seconds: float = SECONDS,
) -> Done:
    """Run a command in a process of its own, to its end."""
    with started(*arguments, folder=folder, command=command, environment=environment) as process:
        output, _ = process.communicate(timeout=seconds)
    return Done(process.returncode, output)


@contextmanager
def started(
    *arguments: str,
    folder: Path,
    command: tuple[str, ...] = PYTHON_M,
    environment: Mapping[str, str] = {},
) -> Iterator[subprocess.Popen[str]]:
    """Start a command as the leader of a session, of which nothing outlives the block."""
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=clean_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in session_members(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def session_members(leader: subprocess.Popen[Any]) -> dict[int, str]:
    """Return the processes in the session of one that `started` began, by id with their names."""
    members = {}
    for entry in Path("/proc").iterdir():
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.getsid(int(entry.name)) == leader.pid:
                start, _, rest = (entry / "stat").read_text().rpartition(")")
                if rest.split()[0] != "Z":
                    members[int(entry.name)] = start.partition("(")[2]
    return members


def said_by_now(process: subprocess.Popen[str]) -> str:
    """Return what a process has written since the last time, without waiting for more."""
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1_000_000).decode(errors="replace")
    except BlockingIOError:
        return ""
    finally:
        os.set_blocking(pipe, True)


def wait_until(
    condition: Callable[[], bool], seconds: float, what: str, every: float = 0.1
) -> None:
    """Poll a condition. Raises TimeoutError that says what did not happen.

    every: seconds between two looks; more of them where a look takes the processor for long.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)


def free_port() -> int:
    """Return a port that nobody listens to.

    Not one of those that the system hands out, of which Ray takes many: one of its processes might
    take it before it is used.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


def page(url: str) -> str | None:
    """Return a web page; None while its server does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError):
        return None


def run_ids(search: Path) -> dict[int, str]:
    """Return the MLflow runs of a search's trials by number, as the trials' folders name them."""
    found = {}
    for file in sorted((search / "trials").glob("trial-*/runs.json")):
        [run] = json.loads(file.read_text()).values()
        found[int(file.parent.name.removeprefix("trial-"))] = run["id"]
    return found
