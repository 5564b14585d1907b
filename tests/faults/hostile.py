"""Runs commands on hostile input: in this process, or in one that may take only so much.

The input itself is in the tests beside this file, `test_hostile_*.py`.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cli import PYTHON_M, Done, call, clean_environment, run
from tests.faults.audit import Audit
from tests.faults.setting import LONGEST, Setting

MEMORY = 8 << 30
"""Bytes of address space: torch and its libraries take 4 GiB of it before they do anything."""

SECONDS = 120

TESTS = sorted(Path(__file__).parent.glob("test_hostile_*.py"))


def hostile_input(setting: Setting) -> Audit:
    """Hand in every hostile archive, checkpoint, file and name, as one row of the table."""
    tests = [str(file) for file in TESTS]
    options = ("-q", "-rf", "-p", "no:cacheprovider", f"--basetemp={setting.folder}")
    root = Path(__file__).parents[2]
    command = (sys.executable, "-m", "pytest", *options)
    done = run(*tests, folder=root, command=command, seconds=LONGEST)
    found = Audit()
    found.expect(bool(tests) and done.code == 0, done.output[-3000:])
    return found


def refused(
    *arguments: str, folder: Path, environment: Mapping[str, str] = {}, code: int = 2
) -> str:
    """Run a command that must be refused in one message; return what it says."""
    return said(call(*arguments, folder=folder, environment=environment), code)


def refused_in_limits(
    *arguments: str, folder: Path, environment: Mapping[str, str] = {}, code: int = 2
) -> str:
    """Do so in a process of its own, which must need neither much memory nor long."""
    return said(run_in_limits(*arguments, folder=folder, environment=environment), code)


def run_in_limits(*arguments: str, folder: Path, environment: Mapping[str, str] = {}) -> Done:
    """Run a command to its end, in little memory and time."""
    process = subprocess.Popen(
        [*PYTHON_M, *arguments],
        cwd=folder,
        env=clean_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Done(process.returncode, output + errors, errors)


def said(done: Done, code: int) -> str:
    """Return a refusal's only message, which is short and moves no cursor."""
    assert done.code == code, done.output
    assert "Traceback" not in done.output
    assert "Warning" not in done.output
    lines = done.errors.splitlines()
    assert lines[0].startswith("error "), done.output
    assert len(lines) <= 25
    assert len(done.errors) < 25_000
    assert "\x1b" not in done.output
    return done.errors.removeprefix("error ").strip()
