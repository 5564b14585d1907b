"""One contender in a process of its own, which takes commands as lines of JSON on its input.

Started by `benchmarks.remote` as `python -m benchmarks.worker NAME`. Needs numpy, and what the
contender imports. A command is {"do": ..., ...}, answered by one line: {"ok": ...}, or
{"missing": why} or {"not_offered": why} or {"error": why}. Commands:

- import: load the contender's libraries; answers with their versions;
- build: make a workload ready, by name, type of numbers and size of the meta-batch;
- gradients: compute once and save the flat gradients to a file; answers with the seconds;
- time: compute until some seconds are over, at least once; answers with the number of batches,
  the seconds on the wall and those that the process had the processor;
- memory: the peak resident memory, and what was resident after the imports, in bytes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import process
from benchmarks.contenders import Contender, NotOfferedError, Options, load
from benchmarks.workloads import WORKLOADS, Workload

Reply = dict[str, Any]


class Worker:
    """The state between commands."""

    def __init__(self, name: str, device: str, threads: int):
        self._name = name
        self._device = device
        self._threads = threads
        self._make: Callable[[Workload, Options], Contender]
        self._contender: Contender
        self._baseline = 0

    def do_import(self) -> Reply:
        """Load the libraries; what is resident then is the baseline of memory."""
        self._make = load(self._name)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self._threads)
        process.forget_peak()
        self._baseline = process.resident()
        known = getattr(sys.modules[self._make.__module__], "VERSIONS", {})
        return {"versions": process.versions() | known, "device": self._device_name()}

    def do_build(self, workload: str, dtype: Any, size: int) -> Reply:
        """Make a workload ready."""
        options = Options(self._device, dtype)
        self._contender = self._make(WORKLOADS[workload].of_size(size), options)
        return {"notes": self._contender.notes}

    def do_gradients(self, path: str) -> Reply:
        """Compute once, and save the flat gradients."""
        began = time.perf_counter()
        gradients = self._contender.run()
        seconds = time.perf_counter() - began
        np.save(path, self._contender.flat(gradients))
        return {"seconds": seconds}

    def do_time(self, seconds: float) -> Reply:
        """Compute until `seconds` are over, at least once."""
        batches, began, cpu_began = 0, time.perf_counter(), time.process_time()
        while batches == 0 or time.perf_counter() - began < seconds:
            self._contender.run()
            batches += 1
        return {
            "batches": batches,
            "wall": time.perf_counter() - began,
            "cpu": time.process_time() - cpu_began,
        }

    def do_memory(self) -> Reply:
        """Tell peak and baseline, in bytes."""
        device_peak = self._contender.device_peak
        return {
            "baseline": self._baseline,
            "peak": process.peak_resident(),
            "device_peak": device_peak() if device_peak else None,
        }

    def _device_name(self) -> str:
        if self._device.startswith("cuda") and "torch" in sys.modules:
            return sys.modules["torch"].cuda.get_device_name()
        return self._device

    def answer(self, command: dict[str, Any]) -> Reply:
        """Carry out one command."""
        return answer(self, command)


def answer(worker: object, command: dict[str, Any]) -> Reply:
    """Let the method `do_...` of a worker carry out one command."""
    try:
        return {"ok": getattr(worker, f"do_{command.pop('do')}")(**command)}
    except NotOfferedError as error:
        return {"not_offered": str(error)}
    except ImportError as error:
        return {"missing": f"{type(error).__name__}: {error}"}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def serve(worker: object) -> None:
    """Answer commands until the input ends."""
    # Libraries may print: answers get the output for themselves, all else goes to the errors.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(worker, json.loads(line))) + "\n")
        answers.flush()


def main(name: str, device: str, threads: int) -> None:
    """Take the role of one contender."""
    process.pin(threads)
    serve(Worker(name, device, threads))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
