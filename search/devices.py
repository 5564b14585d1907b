"""The device that a file names: whether it is there, and making it the current one."""

from __future__ import annotations

import torch


def has_device(name: str) -> bool:
    """Whether this machine has the device: "cpu", "cuda", "cuda:1", "mps"."""
    kind, _, index = name.partition(":")
    if kind == "cuda":
        return int(index or 0) < torch.cuda.device_count()
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind == "cpu"


def make_current(device: torch.device) -> None:
    """Let this process start graphs and kernels of ours on a GPU; without a number it stays."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
