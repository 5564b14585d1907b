"""What a full disk is to a user: named, with what to do."""

from __future__ import annotations

import errno
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or a user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in FULL


def full(path: str | Path) -> str:
    """Say that a disk is full, and what to do."""
    return (
        f"{path}: no space left there. All that was sealed is whole; make room (or give another "
        "--storage), and go on"
    )
