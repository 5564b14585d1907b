"""Layers with an explicit episode axis, written without vmap.

A parameter is shared by the T episodes or carries a leading axis T. Shared ones run as one dense
batch; separate ones as a batched product or a grouped convolution. Feature maps are kept as
(N, T, C, H, W), examples first: both (N * T, C, H, W) and (N, T * C, H, W) are then views. They can
lie in memory with episodes and channels last, where torch's kernels for pooling and batch
normalization are faster (`python -m benchmarks.layouts`), on a GPU those for grouped convolutions
too; (N, T * C, H, W) is a view then too, and convolutions stay grouped, whether their weights are
shared or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from networks import gpu, normalized_pooling
from networks.batch_norm import batch_normalize
from networks.convolving import Form, convolve
from networks.network import Params, Statistics
from networks.pooling import halve_by_maxima

EPSILON = 1e-5
NORMALIZATIONS = ("batch", "layer", "group", "none")
GROUPS = 8

Pair = int | tuple[int, int]
"""One number for height and width, or one for each."""

SINE_FREQUENCY = 10.0


def sine(inputs: Tensor) -> Tensor:
    """sin(10 x), as of Sitzmann et al. 2020, arXiv:2006.09661, section 3.2.

    There the frequency is 30, for inputs in [-1, 1]; here inputs are a few times larger. It is for
    one hidden layer: of two, the second gets values so far apart that it only makes noise of them.
    """
    return torch.sin(SINE_FREQUENCY * inputs)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "sine": sine,
}


def linear(weight: Tensor, bias: Tensor, inputs: Tensor) -> Tensor:
    """Affine map of inputs (T, N, D_in) to (T, N, D_out).

    weight: (D_out, D_in) or (T, D_out, D_in); bias likewise.
    """
    if weight.dim() == 2 and bias.dim() == 1:
        return F.linear(inputs, weight, bias)
    if weight.dim() == 2:
        weight = weight.expand(inputs.shape[0], *weight.shape)
    return torch.baddbmm(bias.unsqueeze(-2), inputs, weight.transpose(1, 2))


def examples_first(inputs: Tensor, normalization: str) -> Tensor:
    """Return inputs (T, N, C, H, W) as maps (N, T, C, H, W), in the memory layout that is fastest.

    normalization: of the network; "layer" and "group" have no kernels for channels last.
    """
    maps = inputs.transpose(0, 1)
    if inputs.device.type not in ("cpu", "cuda") or normalization not in ("batch", "none"):
        return maps.contiguous()
    flat = maps.flatten(1, 2).contiguous(memory_format=torch.channels_last)
    # Strides by hand: views give an axis of length 1 any stride, and a single channel is laid out
    # both ways, so that only its strides tell which one is meant.
    _, together, height, width = flat.shape
    strides = (height * width * together, inputs.shape[2], 1, width * together, together)
    return flat.as_strided(maps.shape, strides, flat.storage_offset())


def channels_last(maps: Tensor) -> bool:
    """Whether maps (N, T, C, H, W) lie in memory with episodes and channels last."""
    episodes, channels = maps.shape[1:3]
    if episodes * channels == 1:
        return maps.stride(2) == 1
    inner = channels == 1 or maps.stride(2) == 1
    outer = episodes == 1 or maps.stride(1) == channels
    return inner and outer and maps.stride(4) == episodes * channels


def _images(maps: Tensor) -> Tensor:
    """Return maps (N, T, C, H, W) as images that a kernel takes one by one, as a view."""
    return maps.flatten(1, 2) if channels_last(maps) else maps.flatten(0, 1)


def convolution(
    weight: Tensor,
    bias: Tensor | None,
    maps: Tensor,
    stride: Pair = 1,
    *,
    padding: Pair | None = None,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of maps (N, T, C_in, H, W).

    weight: (C_out, C_in / groups, k_h, k_w), or the same with a leading axis T;
    bias: (C_out,) or (T, C_out).
    padding: None for half of the kernel, which keeps a side at stride 1 (1 for 3 x 3, 0 for 1 x 1).
    """
    if padding is None:
        padding = (weight.shape[-2] // 2, weight.shape[-1] // 2)
    form = partial(Form, _pair(stride), _pair(padding), _pair(dilation))
    examples, episodes, channels, height, width = maps.shape
    last = channels_last(maps)
    if weight.dim() == 4 and groups == 1 and last:
        weight = weight.expand(episodes, *weight.shape)
    if weight.dim() == 4:
        flat = maps.reshape(examples * episodes, channels, height, width)
        common = bias if bias is not None and bias.dim() == 1 else None
        out = convolve(flat, weight, common, form(groups))
    else:
        flat = maps.reshape(examples, episodes * channels, height, width)
        kernels = weight.flatten(0, 1)
        if last and episodes * channels == 1:
            # torch takes a single channel for contiguous, whatever its strides say: add a blank.
            blank = (0, 0, 0, 0, 0, 1)
            flat = F.pad(flat, blank).contiguous(memory_format=torch.channels_last)
            kernels = F.pad(kernels, blank)
        flat_bias = None if bias is None else bias.expand(episodes, -1).reshape(-1)
        out = convolve(flat, kernels, flat_bias, form(episodes * groups))
    out = out.view(examples, episodes, -1, out.shape[-2], out.shape[-1])
    if bias is not None and weight.dim() == 4 and bias.dim() == 2:
        return out + bias[..., None, None]
    return out


def _pair(value: Pair) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def max_pool(maps: Tensor) -> Tensor:
    """Halve the maps (N, T, C, H, W) by 2 x 2 maxima; a side of odd length loses its last line."""
    pooled = halve_by_maxima(_images(maps))
    return pooled.view(*maps.shape[:3], *pooled.shape[-2:])


def average_pool(maps: Tensor) -> Tensor:
    """Halve the maps (N, T, C, H, W) by 2 x 2 means; a side of odd length loses its last line."""
    pooled = F.avg_pool2d(_images(maps), 2)
    return pooled.view(*maps.shape[:3], *pooled.shape[-2:])


def spread(maps: Tensor) -> Tensor:
    """Lay the channels of maps (N, T, 4 C, H, W) out as 2 x 2 pixels: (N, T, C, 2 H, 2 W).

    Of each four channels in a row the first goes to the upper left, the second to the upper right.
    """
    examples, episodes, channels, height, width = maps.shape
    c = channels // 4
    if channels_last(maps):
        parts = _rows(maps).view(examples, height, width, episodes, c, 2, 2)
        pixels = parts.permute(0, 1, 5, 2, 6, 3, 4)
        return _rows(pixels.reshape(examples, 2 * height, 2 * width, episodes, c))
    parts = maps.reshape(examples, episodes, c, 2, 2, height, width)
    pixels = parts.permute(0, 1, 2, 5, 3, 6, 4)
    return pixels.reshape(examples, episodes, c, 2 * height, 2 * width)


def widened(maps: Tensor, height: int, width: int) -> Tensor:
    """Add lines of zeros below and to the right of maps (N, T, C, H, W) up to a size."""
    more = (0, width - maps.shape[4], 0, height - maps.shape[3])
    if not any(more):
        return maps
    if channels_last(maps):
        return _rows(F.pad(_rows(maps), (0, 0, 0, 0, *more)))
    return F.pad(maps, more)


def beside(left: Tensor, right: Tensor) -> Tensor:
    """Join the channels of maps (N, T, C, H, W), those of `left` first."""
    if channels_last(left) and channels_last(right):
        return _rows(torch.cat([_rows(left), _rows(right)], -1))
    return torch.cat([left, right], 2)


def _rows(maps: Tensor) -> Tensor:
    """Turn maps (N, T, C, H, W) to (N, H, W, T, C), as they lie in memory, or back."""
    return maps.permute(0, 3, 4, 1, 2)


def global_average(maps: Tensor) -> Tensor:
    """Mean of maps (N, T, C, H, W) over their positions, (N, T, C)."""
    return maps.mean((-2, -1))


def batch_statistics(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance, each (T, C), over the examples and positions of an episode."""
    if channels_last(maps):
        rows = maps.permute(0, 3, 4, 1, 2).flatten(0, 2)
        variance, mean = torch.var_mean(rows, dim=0, correction=0)
    else:
        variance, mean = torch.var_mean(maps, dim=(0, 3, 4), correction=0)
    return mean, variance


def normalize(
    kind: str,
    params: Params,
    name: str,
    maps: Tensor,
    statistics: Statistics | None,
    collected: Statistics | None,
    epsilon: float = EPSILON,
) -> Tensor:
    """Normalize maps (N, T, C, H, W), then scale and shift by `name`.scale and `name`.shift.

    kind: "batch" (over the examples of an episode), "layer" (over all of an example), "group"
        (over 8 groups of its channels, or as many as divide both), "none".
    statistics: for "batch": use these instead of the batch's own.
    collected: for "batch": where the batch's own are left.
    """
    if kind == "none":
        return maps
    examples, episodes, channels, height, width = maps.shape
    scale, shift = params[f"{name}.scale"], params[f"{name}.shift"]
    if kind == "batch" and collected is not None:
        collected[name] = batch_statistics(maps)
    if kind == "batch" and statistics is None:
        # Episode and channel as one axis of a native kernel, with no vmap over it.
        out = batch_normalize(
            maps.reshape(examples, episodes * channels, height, width),
            _flat(scale, episodes),
            _flat(shift, episodes),
            epsilon,
        )
        return out.view_as(maps)
    if kind == "batch":
        assert statistics is not None
        mean, variance = statistics[name]
        factor = scale * torch.rsqrt(variance + epsilon)
        return maps * factor[..., None, None] + (shift - mean * factor)[..., None, None]
    flat = maps.reshape(examples * episodes, channels, height, width)
    groups = 1 if kind == "layer" else math.gcd(GROUPS, channels)
    out = F.group_norm(flat, groups, eps=epsilon).view_as(maps)
    return out * scale[..., None, None] + shift[..., None, None]


def normalized_maxima(
    params: Params,
    name: str,
    maps: Tensor,
    statistics: Statistics | None,
    collected: Statistics | None,
) -> Tensor:
    """Normalize maps by the batch, rectify them and halve them by maxima, as one operation.

    Arguments are those of `normalize`; the result is `max_pool(relu(normalize("batch", ...)))`.
    """
    examples, episodes, channels, height, width = maps.shape
    halved = (examples, episodes, channels, height // 2, width // 2)
    scale, shift = params[f"{name}.scale"], params[f"{name}.shift"]
    vectors = _flat(scale, episodes), _flat(shift, episodes)
    if maps.device.type == "cpu" and statistics is None and channels_last(maps):
        if collected is not None:
            collected[name] = batch_statistics(maps)
        pooled = normalized_pooling.normalized_maxima(maps.flatten(1, 2), *vectors, EPSILON)
        return pooled.view(halved)
    if not (gpu.usable(maps) and channels_last(maps)):
        normalized = normalize("batch", params, name, maps, statistics, collected)
        # The same as the maxima of what is rectified, to the last derivative, on a quarter of it.
        return ACTIVATIONS["relu"](max_pool(normalized))
    from networks.gpu import block

    flat = maps.flatten(1, 2)
    if statistics is None:
        found, mean, variance = block.normalized_maxima(flat, *vectors, EPSILON)
        if collected is not None:
            collected[name] = mean.view(episodes, -1), variance.view(episodes, -1)
    else:
        if collected is not None:
            collected[name] = batch_statistics(maps)
        mean, variance = statistics[name]
        factor = scale * torch.rsqrt(variance + EPSILON)
        offset = shift - mean * factor
        found = block.maxima(flat, _flat(factor, episodes), _flat(offset, episodes))
    return found.view(halved)


def _flat(value: Tensor, episodes: int) -> Tensor:
    """Return a value for each channel, (C,) or (T, C), as one axis of episodes and channels."""
    return value.expand(episodes, value.shape[-1]).reshape(-1)


def layer_normalize(
    scale: Tensor, shift: Tensor, inputs: Tensor, epsilon: float = EPSILON
) -> Tensor:
    """Normalize each vector of inputs (T, N, ..., D) over its D elements, then scale and shift.

    scale, shift: (D,) or (T, D).
    """
    out = F.layer_norm(inputs, inputs.shape[-1:], eps=epsilon)
    return out * _beside(scale, inputs) + _beside(shift, inputs)


def _beside(value: Tensor, inputs: Tensor) -> Tensor:
    """View (D,) or (T, D) so that it broadcasts along the first and last axes of (T, ..., D)."""
    return value if value.dim() == 1 else value.view(len(value), *[1] * (inputs.dim() - 2), -1)


def attention(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention over tokens, each (..., L, D); Vaswani et al. 2017, equation 1.

    seen: truth values that broadcast to (..., L, L), which keys a query may look at: one at least.

    Written as products and a softmax, which have exact second derivatives on every device; the
    fused kernels of `F.scaled_dot_product_attention` have first ones only.
    """
    weights = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if seen is not None:
        weights = weights.masked_fill(~seen, -math.inf)
    return weights.softmax(-1) @ value
