"""A contender as seen from the script: a process that is asked one thing at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.contenders.contender import NotOfferedError

ROOT = Path(__file__).resolve().parents[1]
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**26),
}
LIMITED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class NotInstalledError(Exception):
    """The contender's library is not there."""


class ContenderError(Exception):
    """The contender failed, or its process ended."""


@dataclass(frozen=True)
class Settings:
    """How workers are started.

    pythons: interpreter by contender; the others run with this one.
    paths: folders that are added to the end of every worker's module path.
    learn2learn, torchmeta: a checkout of its source, or None.
    programs: the folder of our compiled programs; what is there is not compiled again.
    keep_memory: whether glibc's allocator is told to keep what is freed, for all alike. By default
        it gives large blocks back to the system, and the page faults of taking them again can cost
        a convolutional network a third of its time.
    """

    device: str = "cpu"
    threads: int = 1
    pythons: dict[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    learn2learn: str | None = None
    torchmeta: str | None = None
    programs: str | None = None
    keep_memory: bool = False


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a worker: module path and limits on threads."""
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join([str(ROOT), *settings.paths])
    found |= {name: str(settings.threads) for name in LIMITED}
    several = "true" if settings.threads > 1 else "false"
    found["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={several} intra_op_parallelism_threads={settings.threads}"
    )
    found["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    found["PYTHONWARNINGS"] = "ignore"
    if settings.device == "cpu":
        found["JAX_PLATFORMS"] = "cpu"
    if settings.learn2learn:
        found["LEARN2LEARN_SOURCE"] = str(Path(settings.learn2learn).resolve())
    if settings.torchmeta:
        found["TORCHMETA_SOURCE"] = str(Path(settings.torchmeta).resolve())
    if settings.keep_memory:
        found |= KEEP_MEMORY
    if settings.programs:
        found["METASWEEP_PROGRAMS"] = str(Path(settings.programs).resolve())
    return found


class Remote:
    """A running worker. Use as a context: it ends with it.

    module: what the process runs.
    `ask` and `answer` raise NotInstalledError, NotOfferedError or ContenderError.
    """

    def __init__(self, name: str, settings: Settings, module: str = "benchmarks.worker"):
        python = settings.pythons.get(name, sys.executable)
        arguments = [name, settings.device, str(settings.threads)]
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=ROOT,
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command, wait for the answer and return it."""
        self.send(do, **arguments)
        return self.answer()

    def send(self, do: str, **arguments: Any) -> None:
        """Send a command, whose `answer` is then waited for."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to what was sent, and return it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(f"ended with status {self._process.wait()}")
        reply = json.loads(line)
        if "missing" in reply:
            raise NotInstalledError(reply["missing"])
        if "not_offered" in reply:
            raise NotOfferedError(reply["not_offered"])
        if "error" in reply:
            raise ContenderError(reply["error"])
        return reply["ok"]

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it ended before
                self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
