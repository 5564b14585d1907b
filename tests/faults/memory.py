"""A limit of memory that the kernel keeps by killing: a control group, as containers have one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.machine import NotAllowedError

GROUPS = Path("/sys/fs/cgroup")
SECONDS = 10


@contextmanager
def limited(size: int) -> Iterator[tuple[str, ...]]:
    """Make a group whose processes have so many bytes together; yield what starts a command in it.

    Raises NotAllowedError where this machine does not allow it.
    """
    version_1 = (GROUPS / "memory").is_dir()
    folder = (GROUPS / "memory" if version_1 else GROUPS) / f"metasweep-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise NotAllowedError(f"{folder}: {error.strerror}") from None
    try:
        try:
            limit = "memory.limit_in_bytes" if version_1 else "memory.max"
            (folder / limit).write_text(str(size))
        except OSError as error:
            raise NotAllowedError(f"{folder / limit}: {error.strerror}") from None
        enter = f'echo $$ > {folder / "cgroup.procs"} && exec "$@"'
        yield ("sh", "-c", enter, "sh")
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the group, once the last of its processes is gone."""
    for _ in range(10 * SECONDS):
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.1)
