"""JAX by hand: the gradient of the mean over `vmap` of an episode's query loss, under one `jit`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import workloads
from benchmarks.contenders.contender import Contender, Options
from benchmarks.workloads import DEPTH, Workload

Params = dict[str, jax.Array]
EPSILON = 1e-5


def features(workload: Workload, params: Params, inputs: jax.Array) -> jax.Array:
    """Map inputs (N, *input_shape) to features (N, F)."""
    if not workload.filters:
        for layer in ("layer1", "layer2"):
            inputs = jax.nn.relu(inputs @ params[f"{layer}.weight"].T + params[f"{layer}.bias"])
        return inputs
    maps = inputs.transpose(0, 2, 3, 1)  # channels last, which XLA prefers on a CPU
    for block in (f"block{i}" for i in range(1, DEPTH + 1)):
        maps = convolution(params[f"{block}.weight"], maps)
        mean = maps.mean((0, 1, 2))
        variance = jnp.square(maps - mean).mean((0, 1, 2))
        factor = params[f"{block}.scale"] * lax.rsqrt(variance + EPSILON)
        maps = max_pool(jax.nn.relu((maps - mean) * factor + params[f"{block}.shift"]))
    return maps.transpose(0, 3, 1, 2).reshape(len(maps), -1)


def convolution(weight: jax.Array, maps: jax.Array) -> jax.Array:
    """3 x 3 convolution of maps (N, H, W, C) as one product over patches of 9 C values.

    Under `vmap` over weights this is a batched product, while `lax.conv_general_dilated` becomes a
    grouped convolution, for which XLA has no fast kernel on a CPU.
    """
    height, width = maps.shape[1:3]
    padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    kernel = weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])
    return jnp.concatenate(shifted, -1) @ kernel


def max_pool(maps: jax.Array) -> jax.Array:
    """Halve maps (N, H, W, C) by 2 x 2 maxima; a side of odd length loses its last line.

    Maxima of pairs: the derivative of `max` over an axis asks which entries equal the maximum, and
    XLA computed the two sides of that comparison in fusions that round differently, so that on a
    CPU the second derivative was wrong or NaN under `jit` (JAX 0.10), and right without.
    """
    height, width = (side // 2 * 2 for side in maps.shape[1:3])
    rows = jnp.maximum(maps[:, 0:height:2], maps[:, 1:height:2])
    return jnp.maximum(rows[:, :, 0:width:2], rows[:, :, 1:width:2])


def head(params: Params, hidden: jax.Array) -> jax.Array:
    """Map features (N, F) to outputs (N, outputs)."""
    return hidden @ params["head.weight"].T + params["head.bias"]


def build(workload: Workload, options: Options) -> Contender:
    """Make a workload ready."""
    jax.config.update("jax_enable_x64", options.dtype == "float64")
    device = jax.devices("gpu" if options.device.startswith("cuda") else "cpu")[0]

    def array(values: np.ndarray) -> jax.Array:
        kind = options.dtype if np.issubdtype(values.dtype, np.floating) else "int32"
        return jax.device_put(values.astype(kind), device)

    data = workloads.batch(workload)
    episodes = tuple(
        array(values)
        for values in (
            data.support_inputs,
            data.support_targets,
            data.query_inputs,
            data.query_targets,
        )
    )
    meta = {name: array(value) for name, value in workloads.weights(workload).items()}
    head_only = workload.method == "anil"

    def loss_of(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        if not workload.ways:
            return jnp.square(outputs - targets).mean()
        picked = jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[:, None], 1)
        return -picked.mean()

    def query_loss(
        params: Params,
        support: jax.Array,
        support_targets: jax.Array,
        query: jax.Array,
        query_targets: jax.Array,
    ) -> jax.Array:
        fixed = {n: v for n, v in params.items() if head_only and not n.startswith("head.")}
        fast = {n: v for n, v in params.items() if n not in fixed}
        hidden = features(workload, fixed, support) if head_only else None

        def support_loss(fast: Params) -> jax.Array:
            found = features(workload, fast, support) if hidden is None else hidden
            return loss_of(head(fast, found), support_targets)

        for _ in range(workload.inner_steps):
            gradients = jax.grad(support_loss)(fast)
            if workload.method == "fomaml":
                gradients = lax.stop_gradient(gradients)
            fast = {n: v - workload.inner_lr * gradients[n] for n, v in fast.items()}
        adapted = fixed | fast
        return loss_of(head(adapted, features(workload, adapted, query)), query_targets)

    def mean_query_loss(params: Params, episodes: tuple[jax.Array, ...]) -> jax.Array:
        return jax.vmap(query_loss, in_axes=(None, 0, 0, 0, 0))(params, *episodes).mean()

    meta_gradients = jax.jit(jax.grad(mean_query_loss))

    def run() -> Any:
        return jax.block_until_ready(meta_gradients(meta, episodes))

    def device_peak() -> int:
        return int((device.memory_stats() or {}).get("peak_bytes_in_use", 0))

    return Contender(
        run,
        lambda gradients: workloads.flat(workload, gradients),
        None if device.platform == "cpu" else device_peak,
    )
