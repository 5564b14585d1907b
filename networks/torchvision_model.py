"""The classification models of torchvision, from random weights, with an episode axis."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from networks.errors import NetworkError
from networks.graph_layers import (
    FUNCTIONS,
    LAYERS,
    METHODS,
    Pass,
    check_layer,
    parameter_name,
)
from networks.layers import linear
from networks.network import Network, Params, Statistics

CHANNELS = 3
"""Of the images that torchvision's models are made for."""

_ARGUMENTS: dict[str, dict[str, Any]] = {
    # Their heads beside the head serve training on ImageNet alone.
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def torchvision_model(
    input_shape: tuple[int, ...], outputs: int, *, model: str = "resnet18"
) -> Network:
    """Build a classification model of torchvision by name, such as "resnet18"; see its own docs.

    The model is traced once, and its graph is run with an episode axis: "<path>.weight" and
    "<path>.bias" are the parameters of a convolution or linear layer, "<path>.scale" and
    "<path>.shift" of a normalization, with the layer's path in the model ("layer1.0.conv1").
    Batch normalization keeps no running statistics: it uses those of the episode, or given ones.
    Dropout and stochastic depth are left out. Nothing is downloaded: weights are drawn as the
    model draws its own. The last linear layer has `outputs` rows. For images of other than 3
    channels the first convolution is drawn again, normal with the deviation of the one it replaces.

    Raises NetworkError when there is no such model, a layer has no functional version here, or
    the model does not fit the images.
    """
    channels = input_shape[0]
    module, steps, last = _traced(model, outputs)
    first = _first_layer(model, module, steps)
    if channels != CHANNELS and first is None:
        raise NetworkError(
            f"model: {model}: takes images of {CHANNELS} channels, and these have {channels}; "
            "choose a model that begins with a convolution"
        )
    body = _Body(module, steps, last)
    names = (f"{last.target}.weight", f"{last.target}.bias")

    def init(rng: torch.Generator) -> Params:
        seed = int(torch.randint(2**62, (), generator=rng))
        with _seeded(seed):
            drawn = _instantiate(model, outputs, "cpu")
            if first is not None and channels != CHANNELS:
                weight = drawn.get_submodule(first).weight
                assert isinstance(weight, nn.Parameter)
                shape = (len(weight), channels, *weight.shape[2:])
                weight.data = torch.randn(shape) * weight.data.std()
        return _parameters(drawn, steps)

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        collected: Statistics = {}
        run = Pass(params, inputs.shape[0], statistics, collected if collect else None)
        hidden = body(run, inputs.transpose(0, 1).flatten(0, 1))
        return run.apart(hidden).transpose(0, 1), collected

    def head(params: Params, hidden: Tensor) -> Tensor:
        return linear(params[names[0]], params[names[1]], hidden)

    batch_normalized = any(isinstance(layer, nn.BatchNorm2d) for _, layer in _layers(module, steps))
    grouped = tuple(
        path
        for path, layer in _layers(module, steps)
        if isinstance(layer, nn.Conv2d) and layer.groups > 1
    )
    network = Network("torchvision", init, features, head, names, batch_normalized, grouped)
    _try(network, model, input_shape, _parameters(module, steps), first)
    return network


def why_not(model: str) -> str | None:
    """Return which layer of a model has no functional version here; None where all have one.

    None, too, where torchvision has no such classification model.
    """
    if model not in _known():
        return None
    try:
        _traced(model, 2)
    except NetworkError as error:
        return str(error).removeprefix(f"model: {model}: ")
    return None


def _traced(model: str, outputs: int) -> tuple[nn.Module, list[fx.Node], fx.Node]:
    """Return the model without data, the nodes of its graph in order, and that of its head."""
    module = _instantiate(model, outputs, "meta")
    steps = list(_trace(model, module).nodes)
    _check_nodes(model, module, steps)
    return module, steps, _last_layer(model, module, steps)


@dataclass(frozen=True)
class _Body:
    """A traced model up to its last layer.

    module: where the layers' settings are read from; its own parameters are not used.
    steps: the nodes of the graph, in order. last: the last layer's.
    """

    module: nn.Module
    steps: list[fx.Node]
    last: fx.Node

    def __call__(self, run: Pass, inputs: Tensor) -> Tensor:
        """Map inputs (N * T, C, H, W) to what the last layer reads, (N * T, F)."""
        values: dict[fx.Node, Any] = {}
        for node in self.steps:
            if node is self.last:
                break
            values[node] = self._step(run, node, values, inputs)
            for read in node.all_input_nodes:
                # Without a gradient nobody else needs the maps that later nodes do not read.
                if read in values and next(reversed(read.users)) is node:
                    del values[read]
        return values[self.last.all_input_nodes[0]]

    def _step(self, run: Pass, node: fx.Node, values: dict[fx.Node, Any], inputs: Tensor) -> Any:
        if node.op == "placeholder":
            return inputs
        if node.op == "get_attr":
            own = self.module.get_parameter(str(node.target))
            return run.parameter(str(node.target), own.dim(), len(inputs) // run.episodes)
        args: Any = fx.node.map_arg(node.args, values.__getitem__)
        kwargs = dict(fx.node.map_arg(node.kwargs, values.__getitem__))
        if "inplace" in kwargs:
            kwargs["inplace"] = False
        if node.op == "call_module":
            layer = self.module.get_submodule(str(node.target))
            return LAYERS[type(layer).__name__](run, str(node.target), layer, *args)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)


class _Tracer(fx.Tracer):
    """Keeps whole what has a functional version, also of torchvision's own modules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__name__ in LAYERS or super().is_leaf_module(m, module_qualified_name)


def _known() -> list[str]:
    from torchvision import models

    known: list[str] = models.list_models(module=models)
    return known


def _instantiate(model: str, outputs: int, device: str) -> nn.Module:
    """Make the model with weights drawn from torch's global generator ("meta": without any)."""
    from torchvision import models

    known = _known()
    if model not in known:
        close = difflib.get_close_matches(model, known, n=3) or known
        raise NetworkError(
            f"model: {model!r}: torchvision has no such classification model: "
            f"did you mean {' or '.join(close[:3])}?"
        )
    arguments = {"weights": None, "num_classes": outputs, **_ARGUMENTS.get(model, {})}
    if device == "cpu":
        return models.get_model(model, **arguments)
    try:
        with torch.device("meta"):
            return models.get_model(model, **arguments)
    except NotImplementedError:
        # RegNet computes its widths with tensors, which without data it cannot.
        with _seeded(0):
            return models.get_model(model, **arguments).to("meta")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let torch's global generator of the CPU draw from a seed; then put it back."""
    before = torch.random.get_rng_state()
    torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(before)


def _trace(model: str, module: nn.Module) -> fx.Graph:
    module.eval()
    for layer in module.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False  # type: ignore[assignment]
    try:
        return _Tracer().trace(module)
    except (fx.proxy.TraceError, TypeError, NotImplementedError, RuntimeError) as error:
        raise NetworkError(
            f"model: {model}: cannot be traced ({error}); choose another model"
        ) from error


def _layers(module: nn.Module, steps: list[fx.Node]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers that the graph calls, by path, each once."""
    for path in dict.fromkeys(str(node.target) for node in steps if node.op == "call_module"):
        yield path, module.get_submodule(path)


def _check_nodes(model: str, module: nn.Module, steps: list[fx.Node]) -> None:
    for path, layer in _layers(module, steps):
        check_layer(model, path, layer)
    for node in steps:
        known = (
            node.target in FUNCTIONS
            if node.op == "call_function"
            else node.op != "call_method" or node.target in METHODS
        )
        if not known:
            stack = list(node.meta.get("nn_module_stack", {}).values())
            path, kind = stack[-1] if stack else (model, "model")
            name = getattr(node.target, "__name__", node.target)
            raise NetworkError(
                f"model: {model}: its layer {path} ({getattr(kind, '__name__', kind)}) calls "
                f"{name}, which has no version with an episode axis; choose another model"
            )


def _last_layer(model: str, module: nn.Module, steps: list[fx.Node]) -> fx.Node:
    (node,) = steps[-1].all_input_nodes
    if node.op == "call_module" and isinstance(module.get_submodule(str(node.target)), nn.Linear):
        return node
    path, _ = list(_layers(module, steps))[-1]
    raise NetworkError(
        f"model: {model}: its last layer ({path}) is not linear, so that it has no head; "
        "choose another model"
    )


def _first_layer(model: str, module: nn.Module, steps: list[fx.Node]) -> str | None:
    """Return the path of the dense convolution that alone reads the images, if there is one."""
    users = list(steps[0].users)
    if len(users) != 1 or users[0].op != "call_module":
        return None
    path = str(users[0].target)
    layer = module.get_submodule(path)
    return path if isinstance(layer, nn.Conv2d) and layer.groups == 1 else None


def _parameters(module: nn.Module, steps: list[fx.Node]) -> Params:
    """Return the parameters that the graph reads, in its order, under the names they have here."""
    params: Params = {}
    for node in steps:
        path = str(node.target)
        if node.op == "get_attr":
            params[path] = module.get_parameter(path).detach()
        elif node.op == "call_module":
            layer = module.get_submodule(path)
            for name, value in layer.named_parameters(recurse=False):
                params[parameter_name(path, layer, name)] = value.detach()
    return params


def _try(
    network: Network, model: str, input_shape: tuple[int, ...], params: Params, first: str | None
) -> None:
    """Run the network on images without data. Raises NetworkError when they are too small."""
    if first is not None:
        weight = params[f"{first}.weight"]
        shape = (len(weight), input_shape[0], *weight.shape[2:])
        params = params | {f"{first}.weight": weight.new_empty(shape)}
    try:
        network(params, torch.empty(1, 2, *input_shape, device="meta"))
    except NotImplementedError:
        raise
    except (RuntimeError, ValueError) as error:
        size = " x ".join(str(side) for side in input_shape[1:])
        raise NetworkError(
            f"model: {model}: does not fit images of {size} pixels: {error}; choose a model of "
            "fewer stages"
        ) from error
