"""What adapts: network families as pure functions, one file a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from networks.conv4 import conv4
from networks.mlp import mlp
from networks.network import Network, Params, Statistics

__all__ = ["NETWORKS", "Entry", "Network", "Params", "Statistics", "build"]


@dataclass(frozen=True)
class Entry:
    """A registered family: `make(input_shape, outputs, **settings)` and a line about it."""

    make: Callable[..., Network]
    summary: str


NETWORKS: dict[str, Entry] = {
    "mlp": Entry(mlp, "fully connected: width, depth, activation"),
    "conv4": Entry(
        conv4, "convolutional blocks: filters, depth, pool or stride, normalization, activation"
    ),
}


def build(
    name: str, input_shape: tuple[int, ...], outputs: int, settings: Mapping[str, Any]
) -> Network:
    """Build a registered network. Raises KeyError for a name, TypeError for a setting unknown."""
    return NETWORKS[name].make(input_shape, outputs, **settings)
