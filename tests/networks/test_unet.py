"""The U-Net: every output against a plain one, any size, parameters shared or an episode's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from networks import Network, NetworkError, Params, build
from networks.layers import beside, channels_last, examples_first, spread, widened

T, N = 3, 2
SIZES = [(8, 8), (9, 7), (5, 12)]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unet(size: tuple[int, int], normalization: str = "batch", **settings: int | str) -> Network:
    chosen = {"filters": 2, "depth": 2, "activation": "silu", **settings}
    return build("unet", (3, *size), 2, chosen | {"normalization": normalization})


def own_parameters(network: Network) -> Params:
    """Different parameters for each episode, off their initial zeros and ones; float64."""
    return {
        name: value.double()
        + 0.2 * torch.randn(T, *value.shape, generator=generator(i), dtype=torch.float64)
        for i, (name, value) in enumerate(network.init(generator(0)).items())
    }


def of_episode(params: Params, t: int) -> Params:
    return {name: value[t] for name, value in params.items()}


def inputs(size: tuple[int, int]) -> Tensor:
    return torch.randn(T, N, 3, *size, generator=generator(9), dtype=torch.float64)


def plain(weights: Params, images: Tensor, normalization: str, layers: int = 2) -> Tensor:
    """One episode's images (N, 3, H, W), with torch's own up-convolutions: (N, H, W, 2)."""

    def through(block: str, maps: Tensor) -> Tensor:
        for layer in (f"{block}.layer{i}" for i in range(1, layers + 1)):
            maps = F.conv2d(maps, weights[f"{layer}.weight"], weights.get(f"{layer}.bias"), 1, 1)
            if normalization != "none":
                scale, shift = weights[f"{layer}.scale"], weights[f"{layer}.shift"]
            if normalization == "batch":
                maps = F.batch_norm(maps, None, None, scale, shift, training=True)
            elif normalization in ("layer", "group"):
                groups = 1 if normalization == "layer" else maps.shape[1]
                maps = F.group_norm(maps, groups, scale, shift)
            maps = F.silu(maps)
        return maps

    kept = []
    for level in (1, 2):
        kept.append(through(f"down{level}", images if level == 1 else F.max_pool2d(kept[-1], 2)))
    maps = through("bottom", F.max_pool2d(kept[-1], 2))
    for level in (2, 1):
        flat, bias = weights[f"up{level}.weight"], weights[f"up{level}.bias"]
        kernel = flat.view(-1, 2, 2, flat.shape[1]).permute(3, 0, 1, 2)
        tile = bias.view(-1, 2, 2).repeat(1, *maps.shape[-2:])
        maps = F.conv_transpose2d(maps, kernel, stride=2) + tile
        missing = [a - b for a, b in zip(kept[level - 1].shape[2:], maps.shape[2:], strict=True)]
        maps = F.pad(maps, (0, missing[1], 0, missing[0]))
        maps = through(f"merge{level}", torch.cat([kept[level - 1], maps], 1))
    return maps.permute(0, 2, 3, 1) @ weights["head.weight"].T + weights["head.bias"]


@pytest.mark.parametrize("normalization", ["batch", "layer", "group", "none"])
@pytest.mark.parametrize("size", SIZES)
def test_outputs_are_those_of_a_plain_network(size: tuple[int, int], normalization: str) -> None:
    network = unet(size, normalization)
    params, images = own_parameters(network), inputs(size)
    found = network(params, images)
    assert found.shape == (T, N, *size, 2)
    for t in range(T):
        expected = plain(of_episode(params, t), images[t], normalization)
        torch.testing.assert_close(found[t], expected, rtol=1e-9, atol=1e-10)


def test_one_convolution_to_a_level() -> None:
    network = unet((8, 8), convolutions=1)
    params, images = own_parameters(network), inputs((8, 8))
    expected = plain(of_episode(params, 1), images[1], "batch", layers=1)
    torch.testing.assert_close(network(params, images)[1], expected, rtol=1e-9, atol=1e-10)
    assert not any("layer2" in name for name in network.shapes)


@pytest.mark.parametrize("normalization", ["batch", "group"])
def test_shared_bodies_and_own_heads_may_be_mixed(normalization: str) -> None:
    network = unet((9, 7), normalization)
    own, images = own_parameters(network), inputs((9, 7))
    shared = of_episode(own, 0)
    heads = {name: own[name] for name in network.head_names}
    found = network(shared | heads, images)
    for t in range(T):
        alone = shared | {name: value[t] for name, value in heads.items()}
        torch.testing.assert_close(found[t : t + 1], network(alone, images[t : t + 1]))
        copies = {name: value.expand(T, *value.shape) for name, value in alone.items()}
        torch.testing.assert_close(network(copies, images)[t], found[t])


def test_features_go_through_a_head_that_is_linear_in_them() -> None:
    network = unet((8, 8))
    params, images = own_parameters(network), inputs((8, 8))
    features, statistics = network.features(params, images, collect=True)
    assert features.shape == (T, N, 8, 8, 2)
    torch.testing.assert_close(network.head(params, features), network(params, images))
    # Collected statistics stand in for their batch.
    one = network.features(params, images[:, :1], statistics)[0]
    torch.testing.assert_close(one, features[:, :1])
    assert network.batch_normalized
    assert not unet((8, 8), "none").batch_normalized


@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_second_derivatives_are_those_of_a_plain_network(normalization: str) -> None:
    network = unet((5, 6), normalization)
    weights = of_episode(own_parameters(network), 0)
    images = inputs((5, 6))[:1]

    def curvature(outputs_of: object) -> list[Tensor]:
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        loss = outputs_of(leaves).square().mean()  # type: ignore[operator]
        first = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        length = torch.stack([gradient.square().sum() for gradient in first]).sum()
        return list(torch.autograd.grad(length, list(leaves.values())))

    found = curvature(lambda leaves: network(leaves, images))
    expected = curvature(lambda leaves: plain(leaves, images[0], normalization))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_maps_keep_their_layout_on_the_way(normalization: str) -> None:
    maps = examples_first(torch.randn(T, N, 8, 3, 5), normalization)
    last = normalization == "batch"
    assert channels_last(maps) == last
    larger = spread(maps)
    assert larger.shape == (N, T, 2, 6, 10)
    for result in (larger, widened(maps, 4, 7), beside(maps, maps)):
        assert channels_last(result) == last
    flat = F.pixel_shuffle(maps.flatten(0, 1), 2)
    assert torch.equal(larger.flatten(0, 1), flat)
    assert widened(maps, 3, 5) is maps
    wider = widened(maps, 4, 7)
    assert torch.equal(wider[..., :3, :5], maps)
    assert not wider[..., 3:, :].any()
    assert not wider[..., 5:].any()


def test_an_image_may_be_too_small_for_a_depth() -> None:
    build("unet", (3, 16, 9), 2, {"depth": 3})
    with pytest.raises(NetworkError, match=r"depth: 4: .*must be at most 3"):
        build("unet", (3, 16, 9), 2, {"depth": 4})
