"""What adapts: network families as pure functions, one file a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from networks.conv4 import conv4
from networks.errors import NetworkError
from networks.mlp import mlp
from networks.network import Network, Params, Statistics
from networks.resnet12 import resnet12
from networks.torchvision_model import torchvision_model
from networks.transformer import transformer
from networks.unet import unet
from networks.vit import vit

__all__ = ["NETWORKS", "Entry", "Network", "NetworkError", "Params", "Statistics", "build"]


@dataclass(frozen=True)
class Entry:
    """A registered family: `make(input_shape, outputs, **settings)` and a line about it.

    fully_connected: whether it has no layers but those: its products are small whatever the shape
        of its inputs, so that many episodes run as one batch.
    """

    make: Callable[..., Network]
    summary: str
    fully_connected: bool = False


NETWORKS: dict[str, Entry] = {
    "mlp": Entry(
        mlp,
        "fully connected: width, depth, normalization, activation, residual",
        fully_connected=True,
    ),
    "conv4": Entry(
        conv4, "convolutional blocks: filters, depth, pool or stride, normalization, activation"
    ),
    "resnet12": Entry(
        resnet12, "residual blocks of 3 convolutions (few-shot ResNet-12, without DropBlock)"
    ),
    "vit": Entry(vit, "small vision transformer: patch, width, depth, heads, readout"),
    "torchvision": Entry(
        torchvision_model, "a convolutional classifier of torchvision by name, not pretrained"
    ),
    "unet": Entry(
        unet, "encoder and decoder for masks: depth, filters, convolutions, normalization"
    ),
    "transformer": Entry(
        transformer, "encoder and decoder of sentences: width, depth, heads, tied, universal"
    ),
}


def build(
    name: str, input_shape: tuple[int, ...], outputs: int, settings: Mapping[str, Any]
) -> Network:
    """Build a registered network.

    Raises KeyError for a name, TypeError for a setting unknown; NetworkError for a value that does
    not fit the others or the inputs.
    """
    return NETWORKS[name].make(input_shape, outputs, **settings)
