"""Where a result comes from: the code, the packages and the hardware."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from search.versions import versions_here

COMMIT_FILE = "COMMIT"
PACKAGES = ("metasweep", "torch", "torchvision", "ray", "optuna", "mlflow")


@cache
def git_commit() -> str | None:
    """Return the commit of this source tree, "-dirty" when it was changed; None if not a checkout.

    An installed copy inside somebody else's repository is not a checkout of ours. Code that was
    packed for a cluster says which checkout it comes from, in a file beside this one.
    """
    file = Path(__file__)
    packed = file.with_name(COMMIT_FILE)
    if packed.exists():
        return packed.read_text().strip()
    if _git("ls-files", "--error-unmatch", file.name) is None:
        return None
    # No tag matches --exclude=*, so that --always gives the whole hash.
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


@cache
def versions() -> dict[str, str]:
    """Return the version of Python and of each installed package that a result depends on."""
    return versions_here(PACKAGES)


@cache
def hardware() -> str:
    """Return the CPU model, the number of cores, and the GPUs if there are any."""
    import torch  # Here, since who only submits a search needs none.

    parts = [_cpu_model(), f"{os.cpu_count()} cores"]
    if torch.cuda.is_available():
        parts += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(parts)


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
