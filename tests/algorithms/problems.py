"""Small random problems that the tests of algorithms share."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms import Hyper, Objective
from algorithms.parts import noise
from algorithms.parts.losses import CLASSIFICATION, REGRESSION, SEGMENTATION
from episodes.episode import IGNORED, Episodes, Examples
from networks import Network, Params, build

WAYS, TRAIN_CLASSES = 3, 7
IMAGE = (1, 8, 8)
PHOTOGRAPH = (2, 7, 6)
"""An image with masks; its sides are odd at one of the levels of a U-Net."""
SEED = 11


def regression_episodes(
    count: int, support: int = 4, query: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Episodes:
    rng = torch.Generator().manual_seed(seed)

    def examples(number: int) -> Examples:
        inputs = torch.randn(count, number, 1, generator=rng, dtype=torch.float64)
        phases = torch.linspace(0, 2, count, dtype=torch.float64).view(-1, 1, 1)
        return Examples(inputs.to(dtype), torch.sin(2 * inputs + phases).to(dtype))

    return Episodes(
        examples(support),
        examples(query),
        torch.empty((count, 0), dtype=torch.int64),
        torch.arange(count),
    )


def image_episodes(
    count: int, shots: int = 2, query_shots: int = 2, seed: int = 0, shape: tuple[int, ...] = IMAGE
) -> Episodes:
    """Noisy copies of class prototypes, so that there is something to learn; float64."""
    rng = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(TRAIN_CLASSES, *shape, generator=rng, dtype=torch.float64)
    classes = torch.stack(
        [torch.randperm(TRAIN_CLASSES, generator=rng)[:WAYS] for _ in range(count)]
    )

    def examples(number: int) -> Examples:
        labels = torch.arange(WAYS).repeat(number).expand(count, -1)
        inputs = prototypes[classes.gather(1, labels)]
        noise = torch.randn(inputs.shape, generator=rng, dtype=torch.float64)
        return Examples(inputs + 0.5 * noise, labels)

    return Episodes(examples(shots), examples(query_shots), classes, torch.arange(count))


def mask_episodes(count: int, shots: int = 2, query_shots: int = 2, seed: int = 0) -> Episodes:
    """Mark what is bright in one of two channels, an episode's own; some pixels do not count."""
    rng = torch.Generator().manual_seed(seed)

    def examples(number: int) -> Examples:
        inputs = torch.randn(count, number, *PHOTOGRAPH, generator=rng, dtype=torch.float64)
        channel = torch.arange(count) % 2
        targets = (inputs[torch.arange(count), :, channel] > 0.5).long()
        left_out = torch.rand(targets.shape, generator=rng) < 0.1
        return Examples(inputs, targets.masked_fill(left_out, IGNORED))

    index = torch.arange(count)
    return Episodes(examples(shots), examples(query_shots), index.unsqueeze(1), index)


def mask_objective(transductive: bool = False) -> Objective:
    return Objective(SEGMENTATION, transductive)


def small_unet(normalization: str = "batch", activation: str = "silu") -> Network:
    settings = {"filters": 2, "depth": 2, "activation": activation, "normalization": normalization}
    return build("unet", PHOTOGRAPH, 2, settings)


def regression_objective(transductive: bool = False) -> Objective:
    return Objective(REGRESSION, transductive)


def classification_objective(transductive: bool = False) -> Objective:
    return Objective(CLASSIFICATION, transductive, WAYS, TRAIN_CLASSES)


def small_mlp(
    activation: str = "tanh",
    normalization: str = "none",
    input_shape: tuple[int, ...] = (1,),
    outputs: int = 1,
) -> Network:
    settings = {"width": 6, "depth": 2, "activation": activation, "normalization": normalization}
    return build("mlp", input_shape, outputs, settings)


def small_conv4(
    downsample: str = "pool",
    normalization: str = "batch",
    activation: str = "silu",
    residual: bool = False,
) -> Network:
    settings = {"filters": 4, "depth": 2, "downsample": downsample, "activation": activation}
    settings |= {"normalization": normalization, "residual": residual}
    return build("conv4", IMAGE, WAYS, settings)


def hyperparameters(
    inner_lr: float = 0.1, dtype: torch.dtype = torch.float64, **changes: float
) -> Hyper:
    """Return values for every hyperparameter that some algorithm reads; counts stay ints."""
    values = {
        "inner_lr": inner_lr,
        "inner_steps": 2,
        "progress": 0.75,
        "inner_momentum": 0.6,
        "inner_decay": 0.8,
        "inner_weight_decay": 0.3,
        "proximal_strength": 6.0,
        "cg_steps": 3,
        "context_size": 2,
        "multi_step_share": 0.9,
        "first_order_share": 0.5,
        "attention_scale": 3.0,
    }
    return {
        name: value if isinstance(value, int) else torch.tensor(value, dtype=dtype)
        for name, value in (values | changes).items()
    }


def keys_of(episodes: Episodes, seed: int = SEED) -> Tensor:
    return noise.keys_of(seed, episodes.index)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def double(params: Params) -> Params:
    return {name: value.double() for name, value in params.items()}


def scrambled(params: Params, seed: int = 5) -> Params:
    """Return parameters in float64, moved off their initial zeros and ones."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: value.double() + 0.1 * torch.randn(value.shape, generator=rng, dtype=torch.float64)
        for name, value in params.items()
    }


def vector(params: Params) -> Tensor:
    return torch.cat([params[name].flatten() for name in sorted(params)])


def relative_error(found: Params, expected: Params) -> float:
    """Distance of two sets of tensors as a share of the expected one's norm, unless that is 0."""
    assert found.keys() == expected.keys()
    difference = vector(found) - vector(expected)
    norm = vector(expected).norm()
    return float(difference.norm() / norm if norm else difference.norm())
