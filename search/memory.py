"""Memory of the current process or device: its peak, its size, and that there is none left."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from algorithms.allocator import give_back_freed_memory
from search.errors import FailedError


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far, where the system can: trials share a process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    give_back_freed_memory()
    # Linux resets the resident peak ("high water mark") when 5 is written; elsewhere it stays.
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_megabytes(device: torch.device) -> float:
    """Return the peak since `reset_peak`, in MB: of the device, or the resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the host had no memory left for a tensor."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextmanager
def enough_memory(path: Path) -> Iterator[None]:
    """Raise FailedError that names the file at `path` where there is no memory for a tensor."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise FailedError(f"{path}: does not fit into the memory that is left") from None
