"""The space of each network family, beside its published structure."""

from __future__ import annotations

from spaces.parameter import Choice, Int, Value
from spaces.space import Space

_MLP_DEFAULTS: dict[str, Value] = {"width": 40, "depth": 2, "activation": "relu"}

MLP = Space(
    {
        "width": Int(16, 128, log=True),
        "depth": Int(1, 3),
        "activation": Choice(("relu", "leaky_relu", "tanh", "silu", "gelu")),
    },
    {"classification": _MLP_DEFAULTS, "regression": _MLP_DEFAULTS},
)
"""Finn et al. 2017, arXiv:1703.03400, section 5.1."""

_CONV4_DEFAULTS: dict[str, Value] = {
    "filters": 64,
    "depth": 4,
    "downsample": "pool",
    "normalization": "batch",
    "activation": "relu",
}

CONV4 = Space(
    {
        "filters": Choice((16, 32, 64, 128)),
        "depth": Int(3, 5),
        "downsample": Choice(("pool", "stride")),
        "normalization": Choice(("batch", "layer", "group", "none")),
        "activation": Choice(("relu", "leaky_relu", "tanh", "silu", "gelu")),
    },
    {"classification": _CONV4_DEFAULTS, "regression": _CONV4_DEFAULTS},
)
"""Vinyals et al. 2016, arXiv:1606.04080, section 4.1.1. MAML's Omniglot network strides in place of
pooling; pooling is what most later comparisons use."""

NETWORK_SPACES: dict[str, Space] = {"mlp": MLP, "conv4": CONV4}
IMAGE_NETWORKS = frozenset({"conv4"})
"""Families that need inputs of shape (channels, height, width)."""
