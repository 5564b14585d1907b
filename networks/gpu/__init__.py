"""Kernels of our own for GPUs, in Triton: what torch's take too long for, with the same results."""

from __future__ import annotations

import importlib.util
import logging
from functools import cache

import torch
from torch import Tensor

log = logging.getLogger("metasweep")

LARGEST = 2**31 - 1
"""Elements of a tensor whose places fit into 32 bits."""
LEAST_OUTPUTS = 8
"""Of a convolution's group; a product of tiles makes nothing of fewer."""
MOST_GROUPS = 65_535
"""Programs along one axis of CUDA's grid."""
TENSOR_CORES = (8, 0)
"""Compute capability from which they multiply what the kernels use."""


def usable(*values: Tensor) -> bool:
    """Whether the kernels take these: 32-bit numbers on an NVIDIA GPU with tensor cores."""
    return (
        all(
            value.is_cuda and value.dtype == torch.float32 and value.numel() <= LARGEST
            for value in values
        )
        # Triton runs kernels on the current GPU, whichever their data are on.
        and values[0].device.index == torch.cuda.current_device()
        and kernels_run(values[0].device)
    )


@cache
def kernels_run(device: torch.device) -> bool:
    """Whether kernels can be compiled and run on a GPU, by doing so once.

    Triton comes with torch where torch is made for CUDA, and needs a C compiler and Python's
    headers. Without them torch's kernels are used, and a warning says why.
    """
    if torch.version.cuda is None or importlib.util.find_spec("triton") is None:
        return False
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < TENSOR_CORES:
        return False
    try:
        from networks.gpu import block, convolution

        one = torch.ones(1, device=device)
        block.maxima(one.view(1, 1, 1, 1).expand(1, 1, 2, 2), one, one)
        convolution.try_out(device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # Compilers, drivers and Triton each raise errors of their own.
        log.warning("torch's kernels are used on %s, ours can't be compiled: %s", device, error)
        return False
    return True
