"""What a contender is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Options:
    """How a contender is to compute."""

    device: str = "cpu"
    dtype: Literal["float32", "float64"] = "float32"


@dataclass(frozen=True)
class Contender:
    """A workload made ready.

    run: compute the meta-gradients once; they are there when it returns.
    flat: what `run` returned as one vector, in the order of `workloads.weights`.
    device_peak: bytes of device memory at the peak so far; None on a CPU.
    notes: how it computes, in a few words ("chunk": "4").
    """

    run: Callable[[], Any]
    flat: Callable[[Any], np.ndarray]
    device_peak: Callable[[], int] | None = None
    notes: dict[str, str] = field(default_factory=dict)


class NotOfferedError(Exception):
    """The library has no way to do this work."""
