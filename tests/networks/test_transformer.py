"""The transformer: against torch's own layers, its masks, its derivatives, its lexicon."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from episodes.translation.subwords import PADDING as PADDING_OF_EPISODES
from networks import Network, NetworkError, Params, build
from networks.layers import ACTIVATIONS
from networks.transformer import PADDING

T, N, LONGEST, SYMBOLS = 2, 3, 5, 11
SMALL = {"width": 8, "depth": 2, "heads": 2, "expansion": 2, "activation": "gelu"}
WHOLE = {"tied": False}
VARIANTS = pytest.mark.parametrize("settings", [{}, WHOLE, {"universal": 4}], ids=str)


def small(**settings: Any) -> Network:
    return build("transformer", (2 * LONGEST,), SYMBOLS, SMALL | settings)


def moved(network: Network, seed: int = 0) -> Params:
    """Return parameters in float64, moved off their initial zeros and ones."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: value.double() + 0.1 * torch.randn(value.shape, generator=rng)
        for name, value in network.init(rng).items()
    }


def sentences(seed: int = 0, longest: int = LONGEST) -> Tensor:
    """Return inputs (T, N, 2 x LONGEST), with sentences of all lengths up to `longest`."""
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randint(1, SYMBOLS, (T, N, 2, LONGEST), generator=rng)
    lengths = torch.randint(1, longest + 1, (T, N, 2, 1), generator=rng)
    lengths[0, 0] = longest
    return inputs.masked_fill(torch.arange(LONGEST) >= lengths, PADDING).flatten(2)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def per_episode(network: Network) -> tuple[list[Params], Params]:
    one_by_one = [moved(network, seed) for seed in range(T)]
    return one_by_one, {
        name: torch.stack([own[name] for own in one_by_one]) for name in one_by_one[0]
    }


def by_torch(params: Params, inputs: Tensor) -> Tensor:
    """One example (2 x LONGEST,) through torch's attention, with no padding of ours."""
    source, target = (half[half != PADDING] for half in inputs.split(LONGEST))
    table, width = params["embedding.table"], SMALL["width"]

    def attend(asking: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
        heads = [part.view(len(part), 2, -1).transpose(0, 1) for part in (asking, key, value)]
        out = F.scaled_dot_product_attention(*heads, is_causal=causal)
        return out.transpose(0, 1).reshape(len(asking), width)

    def layer(name: str, vectors: Tensor) -> Tensor:
        return F.linear(vectors, params[f"{name}.weight"], params[f"{name}.bias"])

    def norm(name: str, vectors: Tensor) -> Tensor:
        scale, shift = params[f"{name}.scale"], params[f"{name}.shift"]
        return F.layer_norm(vectors, (width,), scale, shift)

    def block(name: str, hidden: Tensor, memory: Tensor | None) -> Tensor:
        mixed = layer(f"{name}.mix", norm(f"{name}.norm1", hidden)).chunk(3, -1)
        read = attend(*mixed, causal=memory is not None)
        hidden = hidden + layer(f"{name}.projection", read)
        if memory is not None:
            asking = layer(f"{name}.ask", norm(f"{name}.norm2", hidden))
            answer = attend(asking, *layer(f"{name}.tell", memory).chunk(2, -1), causal=False)
            hidden = hidden + layer(f"{name}.answer", answer)
        inner = F.gelu(layer(f"{name}.hidden", norm(f"{name}.norm3", hidden)))
        return hidden + layer(f"{name}.output", inner)

    hidden = table[source] * width**0.5 + params["source.positions"][: len(source)]
    for depth in (1, 2):
        hidden = block(f"encoder{depth}", hidden, None)
    memory = norm("encoder.norm", hidden)
    hidden = table[target] * width**0.5 + params["target.positions"][: len(target)]
    for depth in (1, 2):
        hidden = block(f"decoder{depth}", hidden, memory)
    weight = params["head.weight"] + table
    return F.linear(norm("norm", hidden), weight, params["head.bias"])


def test_outputs_are_those_of_torchs_layers_on_each_sentence_by_itself() -> None:
    network, inputs = small(), sentences()
    params = moved(network)
    outputs = network(params, inputs)
    assert outputs.shape == (T, N, LONGEST, SYMBOLS)
    for episode in range(T):
        for example in range(N):
            expected = by_torch(params, inputs[episode, example])
            close(outputs[episode, example, : len(expected)], expected)


def test_padding_that_all_share_is_cut_off() -> None:
    network, inputs = small(), sentences(longest=3)
    params = moved(network)
    outputs = network(params, inputs)
    assert outputs.shape == (T, N, 3, SYMBOLS)
    close(outputs[0, 0], by_torch(params, inputs[0, 0]))


@VARIANTS
def test_parameters_of_each_episode_act_on_it_alone(settings: dict[str, Any]) -> None:
    network, inputs = small(**settings), sentences()
    one_by_one, together = per_episode(network)
    expected = [network(own, inputs[t : t + 1])[0] for t, own in enumerate(one_by_one)]
    found = network(together, inputs)
    for t, own in enumerate(expected):
        close(found[t, :, : own.shape[1]], own)


@VARIANTS
def test_shared_parameters_may_stand_beside_those_of_each_episode(
    settings: dict[str, Any],
) -> None:
    network, inputs = small(**settings), sentences()
    shared = moved(network)
    _, together = per_episode(network)
    for name in shared:
        mixed = shared | {name: together[name]}
        full = {key: value.expand(T, *value.shape) for key, value in shared.items()}
        close(network(mixed, inputs), network(full | {name: together[name]}, inputs))


def test_nothing_behind_a_symbol_and_no_other_example_changes_its_outputs() -> None:
    network, inputs = small(), sentences()
    params = moved(network)
    before = network(params, inputs)
    changed = inputs.clone()
    changed[0, 0, LONGEST + 3] = changed[0, 0, LONGEST + 3] % (SYMBOLS - 1) + 1
    after = network(params, changed)
    close(after[0, 0, :3], before[0, 0, :3])
    assert not torch.allclose(after[0, 0, 3], before[0, 0, 3])
    close(after[0, 1:], before[0, 1:])
    alone = network(params, inputs[:, 1:2])
    close(before[:, 1:2, : alone.shape[2]], alone)


@VARIANTS
def test_derivatives_to_second_order(settings: dict[str, Any]) -> None:
    network, inputs = small(depth=1, width=4, **settings), sentences()[:, :2]
    params = {name: value.requires_grad_() for name, value in moved(network).items()}
    names = ["head.weight", "decoder1.tell.weight"]
    names.append("source.queries" if "universal" in settings else "embedding.table")

    def loss(*values: Tensor) -> Tensor:
        own = params | dict(zip(names, values, strict=True))
        return network(own, inputs).square().mean((1, 2, 3))

    values = [params[name] for name in names]
    each = [value.detach().expand(T, *value.shape).clone().requires_grad_() for value in values]
    for given in (values, each):
        assert torch.autograd.gradcheck(loss, given, fast_mode=True)
        assert torch.autograd.gradgradcheck(loss, given, fast_mode=True)


@VARIANTS
def test_features_depend_on_no_parameter_of_the_head(settings: dict[str, Any]) -> None:
    """Or what adapts the head alone could not compute them once."""
    network, inputs = small(**settings), sentences()
    params = moved(network)
    features, _ = network.features(params, inputs)
    others = {name: value + 1 for name, value in params.items() if name in network.head_names}
    close(network.features(params | others, inputs)[0], features)
    assert features.shape[-1] == params[network.head_names[0]].shape[1]
    close(network.head(params, features), network(params, inputs))


def test_source_symbols_are_mixtures_of_universal_vectors() -> None:
    network, inputs = small(universal=4), sentences()
    params = moved(network)
    # All queries alike: the source may as well be any other of its length.
    params["source.queries"] = torch.ones_like(params["source.queries"])
    other = inputs.clone()
    other[..., :LONGEST].masked_fill_(other[..., :LONGEST] != PADDING, 3)
    close(network(params, other), network(params, inputs))


def test_initial_parameters_are_single_precision_and_depend_on_the_seed() -> None:
    network = small(universal=4)
    first, again, other = (network.init(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert {value.dtype for value in first.values()} == {torch.float32}
    for name in ("embedding.table", "encoder1.mix.weight", "source.queries"):
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_settings(activation: str) -> None:
    network = small(activation=activation)
    assert network(moved(network), sentences()).isfinite().all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NetworkError, match="heads: 3: must divide width, 8"):
        small(heads=3)
    with pytest.raises(NetworkError, match=r"inputs are \(1, 28, 28\)"):
        build("transformer", (1, 28, 28), 5, SMALL)
    with pytest.raises(NetworkError, match=r"inputs are \(7,\)"):
        build("transformer", (7,), 5, SMALL)


def test_padding_is_what_the_episodes_call_it() -> None:
    assert PADDING == PADDING_OF_EPISODES
