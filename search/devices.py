"""Whether the device that a file names is there, and holds what the file describes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from search.errors import FailedError
from search.run_job import is_out_of_memory


def has_device(name: str) -> bool:
    """Whether this machine has the device: "cpu", "cuda", "cuda:1", "mps"."""
    kind, _, index = name.partition(":")
    if kind == "cuda":
        return int(index or 0) < torch.cuda.device_count()
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind == "cpu"


@contextmanager
def enough_memory(path: Path) -> Iterator[None]:
    """Raise FailedError that names the file at `path` where there is no memory for a tensor."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise FailedError(f"{path}: does not fit into the memory that is left") from None
