"""Peak memory of the current process or device."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from algorithms.allocator import give_back_freed_memory


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


def device_megabytes(device: torch.device) -> float | None:
    """Return the memory of a device in MB; None for a CPU, whose memory others share."""
    if device.type != "cuda":
        return None
    return torch.cuda.get_device_properties(device).total_memory / 1e6
