"""How much memory there is, and a meta-gradient holds on to while it is computed."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Hyper
from episodes.episode import Episodes
from networks.network import Params


def device_megabytes(device: torch.device) -> float | None:
    """Return the memory of a device in MB; None for a CPU, whose memory others share."""
    if device.type != "cuda":
        return None
    return torch.cuda.get_device_properties(device).total_memory / 1e6


def bytes_held(
    algorithm: Algorithm,
    meta: Params,
    state: Params,
    hyper: Hyper,
    episodes: Episodes,
    keys: Tensor,
) -> int:
    """Return the most bytes that autograd holds at a time for these episodes, by running them.

    What is counted are tensors kept for a derivative, each storage once: by far the most of what
    a second-order inner loop needs, and the same on every run.
    """
    meter = _Meter()
    with torch.autograd.graph.saved_tensors_hooks(meter.pack, _Held.unpack):
        algorithm.meta_gradients(meta, state, hyper, episodes, keys)
    return meter.peak


class _Meter:
    """Counts the bytes of the tensors that are held."""

    def __init__(self) -> None:
        self.live = 0
        self.peak = 0
        self._holders: Counter[int] = Counter()

    def pack(self, tensor: Tensor) -> _Held:
        """Take note of a tensor that autograd saves."""
        return _Held(self, tensor)

    def hold(self, storage: torch.UntypedStorage) -> None:
        """Count a storage that one more saved tensor lies in."""
        place = storage.data_ptr()
        self._holders[place] += 1
        if self._holders[place] == 1:
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)

    def release(self, storage: torch.UntypedStorage) -> None:
        """Forget a storage that one fewer saved tensor lies in."""
        place = storage.data_ptr()
        self._holders[place] -= 1
        if self._holders[place] == 0:
            self.live -= storage.nbytes()


class _Held:
    """A tensor that autograd has saved, until it lets go of it."""

    def __init__(self, meter: _Meter, tensor: Tensor):
        self._meter = meter
        self._tensor = tensor
        meter.hold(tensor.untyped_storage())

    def unpack(self) -> Tensor:
        """Return the tensor."""
        return self._tensor

    def __del__(self) -> None:
        self._meter.release(self._tensor.untyped_storage())
