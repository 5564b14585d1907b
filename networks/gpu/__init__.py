"""Kernels of our own for GPUs, in Triton: what torch's take too long for, with the same results."""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor

LARGEST = 2**31 - 1
"""Elements of a tensor whose places fit into 32 bits."""
LEAST_OUTPUTS = 8
"""Of a convolution's group; a product of tiles makes nothing of fewer."""
MOST_GROUPS = 65_535
"""Programs along one axis of CUDA's grid."""


@cache
def _has_triton() -> bool:
    """Whether Triton is installed: it comes with torch where torch is made for CUDA."""
    return importlib.util.find_spec("triton") is not None


def usable(*values: Tensor) -> bool:
    """Whether the kernels take these: 32-bit numbers on an NVIDIA GPU with tensor cores."""
    return (
        all(
            value.is_cuda and value.dtype == torch.float32 and value.numel() <= LARGEST
            for value in values
        )
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability(values[0].device) >= (8, 0)
        and _has_triton()
    )
