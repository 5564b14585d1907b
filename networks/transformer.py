"""A compact encoder-decoder transformer; Vaswani et al. 2017, arXiv:1706.03762, section 3."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.errors import NetworkError
from networks.initialization import uniform
from networks.layers import ACTIVATIONS, attention, layer_normalize, linear
from networks.network import Network, Params, Statistics

PADDING = 0
"""The symbol that stands behind the end of every sentence, and nowhere else."""

DEVIATION = 0.02


def transformer(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    width: int = 512,
    depth: int = 6,
    heads: int = 8,
    expansion: int = 4,
    activation: str = "relu",
    tied: bool = True,
    universal: int = 0,
) -> Network:
    """Build an encoder and a decoder of `depth` blocks each, for teacher forcing.

    Inputs (T, N, S + L) int64, S = L: a source sentence, and the symbols that each next symbol of
    the target follows on; both end in padding. Outputs (T, N, L', outputs): logits of the symbol
    after each of the latter, L' being the longest of the batch, as what is behind is padding.
    Blocks normalize before they attend ("pre-norm", Xiong et al. 2020, arXiv:2002.04745), positions
    are learned, there is no dropout, and one "embedding" serves both languages. Layer normalization
    knows single symbols only, so that an example's outputs do not depend on others.

    expansion: width of the hidden layers as a multiple of `width`.
    tied: a symbol's output weights are its embedding plus "head.weight", which starts at zero;
        otherwise they are "head.weight" alone. So features never depend on the head's parameters.
    universal: 0, or how many universal lexical vectors ("universal.keys", "universal.values") the
        embeddings of source symbols are mixed of, by attention of a symbol's query ("source.
        queries") to the keys: Gu et al. 2018, arXiv:1808.08437, section 3.3, with
        learned queries in place of monolingual embeddings. An inner loop that adapts "source"
        alone moves the lexicon of a language in a space that all languages share.
    Raises NetworkError when heads do not divide the width, or inputs are not two halves.
    """
    if len(input_shape) != 1 or input_shape[0] % 2:
        raise NetworkError(
            f"transformer: needs a source and a target of one length; inputs are {input_shape}"
        )
    if width % heads:
        raise NetworkError(f"heads: {heads}: must divide width, {width}")
    activate = ACTIVATIONS[activation]
    longest = input_shape[0] // 2
    encoder = [f"encoder{i}" for i in range(1, depth + 1)]
    decoder = [f"decoder{i}" for i in range(1, depth + 1)]

    def init(rng: torch.Generator) -> Params:
        params: Params = {}

        def add(layer: str, fan_in: int, fan_out: int) -> None:
            bound = math.sqrt(6 / (fan_in + fan_out))
            params[f"{layer}.weight"] = uniform((fan_out, fan_in), bound, rng)
            params[f"{layer}.bias"] = torch.zeros(fan_out)

        def add_norm(layer: str) -> None:
            params[f"{layer}.scale"] = torch.ones(width)
            params[f"{layer}.shift"] = torch.zeros(width)

        def normal(rows: int, deviation: float) -> Tensor:
            return deviation * torch.randn((rows, width), generator=rng)

        params["embedding.table"] = normal(outputs, width**-0.5)
        params["source.positions"] = normal(longest, DEVIATION)
        params["target.positions"] = normal(longest, DEVIATION)
        if universal:
            params["source.queries"] = normal(outputs, 1.0)
            params["universal.keys"] = normal(universal, 1.0)
            params["universal.values"] = normal(universal, 1.0)
        for block in encoder + decoder:
            add_norm(f"{block}.norm1")
            add(f"{block}.mix", width, 3 * width)
            add(f"{block}.projection", width, width)
            if block in decoder:
                add_norm(f"{block}.norm2")
                add(f"{block}.ask", width, width)
                add(f"{block}.tell", width, 2 * width)
                add(f"{block}.answer", width, width)
            add_norm(f"{block}.norm3")
            add(f"{block}.hidden", width, expansion * width)
            add(f"{block}.output", expansion * width, width)
        add_norm("encoder.norm")
        add_norm("norm")
        params["head.weight"] = (
            torch.zeros(outputs, width) if tied else normal(outputs, width**-0.5)
        )
        params["head.bias"] = torch.zeros(outputs)
        return params

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        source, target = (_trimmed(half) for half in inputs.split(longest, dim=-1))

        def apply(layer: str, vectors: Tensor) -> Tensor:
            flat = vectors.flatten(1, 2)
            out = linear(params[f"{layer}.weight"], params[f"{layer}.bias"], flat)
            return out.unflatten(1, vectors.shape[1:3])

        def norm(layer: str, vectors: Tensor) -> Tensor:
            return layer_normalize(params[f"{layer}.scale"], params[f"{layer}.shift"], vectors)

        def attend(asking: Tensor, told: Tensor, seen: Tensor) -> Tensor:
            """Let (T, N, L, D) ask of keys and values (T, N, M, 2 D), where `seen`."""
            key, value = told.unflatten(3, (2, heads, -1)).permute(3, 0, 1, 4, 2, 5)
            query = asking.unflatten(3, (heads, -1)).transpose(2, 3)
            return attention(query, key, value, seen).transpose(2, 3).flatten(3)

        def mixed(block: str, hidden: Tensor, seen: Tensor) -> Tensor:
            asking, told = apply(f"{block}.mix", norm(f"{block}.norm1", hidden)).split(
                (width, 2 * width), -1
            )
            return hidden + apply(f"{block}.projection", attend(asking, told, seen))

        def hidden_layer(block: str, hidden: Tensor) -> Tensor:
            inner = activate(apply(f"{block}.hidden", norm(f"{block}.norm3", hidden)))
            return hidden + apply(f"{block}.output", inner)

        def placed(vectors: Tensor, positions: Tensor) -> Tensor:
            own = positions[..., : vectors.shape[2], :]
            return vectors * width**0.5 + (own if own.dim() == 2 else own.unsqueeze(1))

        read = _looked_up(params["embedding.table"], source)
        if universal:
            read = _universal(params, source)
        # (T, N, 1, 1, S): every head of every symbol sees the source up to its end.
        known = (source != PADDING)[:, :, None, None]
        hidden = placed(read, params["source.positions"])
        for block in encoder:
            hidden = hidden_layer(block, mixed(block, hidden, known))
        memory = norm("encoder.norm", hidden)
        length = target.shape[2]
        before = torch.ones(length, length, dtype=torch.bool, device=inputs.device).tril()
        hidden = placed(_looked_up(params["embedding.table"], target), params["target.positions"])
        for block in decoder:
            hidden = mixed(block, hidden, before)
            asking = apply(f"{block}.ask", norm(f"{block}.norm2", hidden))
            answer = attend(asking, apply(f"{block}.tell", memory), known)
            hidden = hidden_layer(block, hidden + apply(f"{block}.answer", answer))
        return norm("norm", hidden), {}

    def head(params: Params, hidden: Tensor) -> Tensor:
        weight = params["head.weight"]
        if tied:
            weight = weight + params["embedding.table"]
        out = linear(weight, params["head.bias"], hidden.flatten(1, 2))
        return out.unflatten(1, hidden.shape[1:3])

    return Network("transformer", init, features, head, ("head.weight", "head.bias"), False)


def _trimmed(symbols: Tensor) -> Tensor:
    """Cut off what is padding in all of (T, N, L), but for the first place."""
    places = (symbols != PADDING).flatten(0, 1).any(0).nonzero()
    return symbols[..., : int(places.max()) + 1 if len(places) else 1]


def _looked_up(table: Tensor, symbols: Tensor) -> Tensor:
    """Return the rows (T, N, L, D) of a table (V, D), or of one for each episode (T, V, D)."""
    if table.dim() == 3:
        first = torch.arange(len(table), device=symbols.device) * table.shape[1]
        symbols = symbols + first.view(-1, 1, 1)
        table = table.flatten(0, 1)
    return F.embedding(symbols, table)


def _universal(params: Params, symbols: Tensor) -> Tensor:
    """Return embeddings (T, N, L, D) of symbols, each a mixture of the universal vectors."""
    query = _looked_up(params["source.queries"], symbols)
    keys, values = params["universal.keys"], params["universal.values"]
    weights = query.flatten(1, 2) @ keys.mT / math.sqrt(query.shape[-1])
    found = weights.softmax(-1) @ values
    return found.unflatten(1, query.shape[1:3]) / math.sqrt(query.shape[-1])
