"""The space of each network family, beside its published structure."""

from __future__ import annotations

from spaces.parameter import Choice, Int, Value
from spaces.space import Space
from spaces.torchvision_models import GROUPED_MODELS

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "silu", "gelu")

_MLP_DEFAULTS: dict[str, Value] = {
    "width": 40,
    "depth": 2,
    "normalization": "none",
    "activation": "relu",
    "residual": False,
}

MLP = Space(
    {
        "width": Int(16, 128, log=True),
        "depth": Int(1, 3),
        "normalization": Choice(("none", "layer")),
        "activation": Choice(ACTIVATIONS),
        "residual": Choice((False, True)),
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
    "residual": False,
}

CONV4 = Space(
    {
        "filters": Choice((16, 32, 64, 128)),
        "depth": Int(3, 5),
        "downsample": Choice(("pool", "average", "stride")),
        "normalization": Choice(("batch", "layer", "group", "none")),
        "activation": Choice(ACTIVATIONS),
        "residual": Choice((False, True)),
    },
    {"classification": _CONV4_DEFAULTS, "regression": _CONV4_DEFAULTS},
)
"""Vinyals et al. 2016, arXiv:1606.04080, section 4.1.1. MAML's Omniglot network strides in place of
pooling; pooling is what most later comparisons use."""

_RESNET12_DEFAULTS: dict[str, Value] = {
    "filters": 64,
    "depth": 4,
    "pool": "average",
    "normalization": "batch",
    "activation": "leaky_relu",
    "residual": True,
}

RESNET12 = Space(
    {
        "filters": Choice((16, 32, 64)),
        "depth": Int(2, 4),
        "pool": Choice(("average", "flatten")),
        "normalization": Choice(("batch", "layer", "group", "none")),
        "activation": Choice(ACTIVATIONS),
        "residual": Choice((False, True)),
    },
    {"classification": _RESNET12_DEFAULTS, "regression": _RESNET12_DEFAULTS},
)
"""Widths and the global average of Oreshkin et al. 2018, arXiv:1805.10123, supplement; activation
of Lee et al. 2019, arXiv:1904.03025, section 4.1."""

_VIT_DEFAULTS: dict[str, Value] = {
    "patch": 7,
    "width": 192,
    "depth": 12,
    "heads": 3,
    "activation": "gelu",
    "readout": "class",
}

VIT = Space(
    {
        "patch": Choice((4, 7, 14)),
        "width": Choice((96, 192, 384)),
        "depth": Int(2, 12),
        "heads": Choice((3, 6, 12)),
        "activation": Choice(ACTIVATIONS),
        "readout": Choice(("class", "mean")),
    },
    {"classification": _VIT_DEFAULTS, "regression": _VIT_DEFAULTS},
)
"""The tiny one of Touvron et al. 2021, arXiv:2012.12877, table 1. Its patches of 16 pixels, 14 x 14
to an image, are here patches of 7: 4 x 4 to an image of side 28, 12 x 12 at 84. All widths are
multiples of all numbers of heads; an image that a patch does not divide is padded."""

_TORCHVISION_DEFAULTS: dict[str, Value] = {"model": "resnet18"}

TORCHVISION = Space(
    {
        "model": Choice(
            (
                "resnet18",
                "resnet34",
                "mobilenet_v2",
                "mobilenet_v3_small",
                "shufflenet_v2_x1_0",
                "efficientnet_b0",
            )
        )
    },
    {"classification": _TORCHVISION_DEFAULTS, "regression": _TORCHVISION_DEFAULTS},
    grouped={"model": GROUPED_MODELS},
)
"""He et al. 2016, arXiv:1512.03385, table 1; the smaller ones of what fits images of side 28."""

UNET = Space(
    {
        "filters": Choice((8, 16, 32)),
        "depth": Int(1, 4),
        "convolutions": Int(1, 2),
        "normalization": Choice(("batch", "layer", "group", "none")),
        "activation": Choice(ACTIVATIONS),
    },
    {
        "segmentation": {
            "filters": 16,
            "depth": 3,
            "convolutions": 2,
            "normalization": "batch",
            "activation": "relu",
        }
    },
)
"""Ronneberger et al. 2015, arXiv:1505.04597, figure 1, whose 64 filters and four halvings are for
images of 572 x 572; here for sides of about 64, with batch normalization, which came later."""

TRANSFORMER = Space(
    {
        "width": Choice((64, 128, 256, 512)),
        "depth": Int(1, 6),
        "heads": Choice((4, 8)),
        "expansion": Choice((2, 4)),
        "activation": Choice(ACTIVATIONS),
        "tied": Choice((True, False)),
        "universal": Choice((0, 64, 256)),
    },
    {
        "translation": {
            "width": 512,
            "depth": 6,
            "heads": 8,
            "expansion": 4,
            "activation": "relu",
            "tied": True,
            "universal": 0,
        }
    },
)
"""The base model of Vaswani et al. 2017, arXiv:1706.03762, table 3."""

NETWORK_SPACES: dict[str, Space] = {
    "mlp": MLP,
    "conv4": CONV4,
    "resnet12": RESNET12,
    "vit": VIT,
    "torchvision": TORCHVISION,
    "unet": UNET,
    "transformer": TRANSFORMER,
}
IMAGE_NETWORKS = {"conv4", "resnet12", "vit", "torchvision", "unet"}
"""Families that need inputs of shape (channels, height, width)."""
