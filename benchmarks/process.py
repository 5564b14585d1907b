"""What a process can be told about itself: cores, resident memory, versions."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from importlib import metadata
from pathlib import Path

STATUS = Path("/proc/self/status")
DISTRIBUTIONS = ("torch", "learn2learn", "higher", "torchopt", "jax")


def pin(threads: int) -> list[int]:
    """Stay on the machine's last `threads` cores, where the system allows it. Returns them."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return cores


def resident() -> int:
    """Return the bytes in memory now; elsewhere than on Linux the peak so far."""
    return _status("VmRSS:") or _peak()


def peak_resident() -> int:
    """Return the bytes in memory at the peak since `forget_peak`."""
    return _status("VmHWM:") or _peak()


def forget_peak() -> None:
    """Give freed memory back and let the peak start from here, where the system can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that this interpreter has."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """Describe the machine: processor, cores, memory."""
    model = platform.processor() or platform.machine()
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    described = {"processor": model, "cores": str(os.cpu_count())}
    if meminfo.exists():
        kilobytes = int(meminfo.read_text().splitlines()[0].split()[1])
        described["memory"] = f"{kilobytes / 2**20:.0f} GiB"
    return described


def _status(field: str) -> int:
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return 0


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
