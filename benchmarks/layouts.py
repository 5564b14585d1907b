"""Which memory layout suits a CPU's kernels? Run with `python -m benchmarks.layouts`.

The layers of a convolutional network are timed on the maps of 4 episodes of 75 queries, 64 filters
and 28 x 28 positions, (75, 256, 28, 28): contiguous and with channels last, taking turns. Printed
are the fastest times in milliseconds. For batch normalization, forwards and backwards, and the
derivative of its backward pass by torch and by `networks.batch_norm`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from algorithms.allocator import keep_freed_memory
from networks.batch_norm import batch_normalize
from networks.pooling import halve_by_maxima

EPISODES, EXAMPLES, FILTERS, SIDE = 4, 75, 64, 28
EPSILON = 1e-5
Normalization = Callable[[Tensor, Tensor, Tensor], Tensor]


def of_torch(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalize as torch does."""
    return F.batch_norm(images, None, None, scale, shift, training=True, eps=EPSILON)


def ours(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalize as `networks.layers` does."""
    return batch_normalize(images, scale, shift, EPSILON)


def twice(normalization: Normalization, images: Tensor, scale: Tensor, shift: Tensor) -> None:
    """Differentiate the norm of a gradient."""
    inputs = [each.detach().requires_grad_() for each in (images, scale, shift)]
    outputs = normalization(*inputs)
    gradients = torch.autograd.grad(outputs.square().sum(), inputs, create_graph=True)
    torch.autograd.grad(gradients[0].square().sum(), inputs)


def calls(images: Tensor) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    channels = images.shape[1]
    weight = torch.randn(channels, FILTERS, 3, 3)
    scale, shift = torch.ones(channels), torch.zeros(channels)
    return {
        "grouped convolution": lambda: F.conv2d(images, weight, padding=1, groups=EPISODES),
        "max pooling": lambda: halve_by_maxima(images),
        "batch normalization": lambda: ours(images, scale, shift),
        "its second derivative, torch": lambda: twice(of_torch, images, scale, shift),
        "its second derivative, ours": lambda: twice(ours, images, scale, shift),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_freed_memory()
    images = torch.randn(EXAMPLES, EPISODES * FILTERS, SIDE, SIDE)
    layouts = {
        "contiguous": calls(images),
        "channels last": calls(images.contiguous(memory_format=torch.channels_last)),
    }
    print(f"{'milliseconds':<32}" + "".join(f"{name:>16}" for name in layouts))
    for what in layouts["contiguous"]:
        best = dict.fromkeys(layouts, float("inf"))
        for _ in range(arguments.repeats + 1):
            for name, timed in layouts.items():
                began = time.perf_counter()
                timed[what]()
                best[name] = min(best[name], 1e3 * (time.perf_counter() - began))
        print(f"{what:<32}" + "".join(f"{best[name]:>16.1f}" for name in layouts))


if __name__ == "__main__":
    main()
