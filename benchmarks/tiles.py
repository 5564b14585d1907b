"""Which tiles are fastest for our convolutions on a GPU? Run with `python -m benchmarks.tiles`.

For every layer of a workload's network, and for each of the three kernels of
`networks.gpu.convolution`: the time of a call on the support images with tiles of many sizes, as
one CUDA graph of several calls. Printed are the microseconds of what `networks.gpu.tiles` chooses
and of the fastest ones. Kernels are compiled first, by as many processes as there are cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from statistics import median
from typing import NamedTuple

import torch
from triton.runtime.errors import OutOfResources

from benchmarks.workloads import DEPTH, Workload, select
from networks.gpu import convolution, tiles
from networks.gpu.tiles import MapTiles, Products, WeightTiles

KERNELS = ("forward", "by_images", "by_weight")
EXACT: tuple[Products, ...] = ("bf16x6", "tf32x3", "ieee")
CALLS, TURNS = 10, 7


class Layer(NamedTuple):
    """A convolution of N images with T groups of channels and outputs each, 3 x 3 on a square."""

    images: int
    groups: int
    channels: int
    outputs: int
    side: int


class Attempt(NamedTuple):
    """A kernel on a layer with some tiles."""

    kernel: str
    layer: Layer
    cut: MapTiles | WeightTiles


def layers_of(workload: Workload) -> Iterator[Layer]:
    """Yield the convolutions of a workload's network, on support and on query images."""
    for shots in (workload.shots, workload.query_shots):
        channels, side, _ = workload.input_shape
        for _ in range(DEPTH):
            images, groups = workload.ways * shots, workload.meta_batch_size
            yield Layer(images, groups, channels, workload.filters, side)
            channels, side = workload.filters, side // 2


def chosen(kernel: str, layer: Layer, exact: bool) -> Attempt:
    """Return what is used."""
    cut: MapTiles | WeightTiles
    if kernel == "by_weight":
        cut = tiles.of_weights(layer.channels, 9, 3, exact)
    else:
        cut = tiles.of_maps(_summed(kernel, layer), 9, exact)
    return Attempt(kernel, layer, cut)


def attempts(kernel: str, layer: Layer, exact: bool) -> Iterator[Attempt]:
    """Yield what else there is to try."""
    products: tuple[Products, ...] = EXACT if exact else ("tf32",)
    of = _of_weights if kernel == "by_weight" else _of_maps
    for cut in of(_summed(kernel, layer), products):
        yield Attempt(kernel, layer, cut)


def _summed(kernel: str, layer: Layer) -> int:
    return layer.outputs if kernel == "by_images" else layer.channels


def _of_maps(channels: int, products: tuple[Products, ...]) -> Iterator[MapTiles]:
    sizes = [size for size in (16, 32, 64) if channels % size == 0] or [tiles.side(9 * channels)]
    yield from map(MapTiles._make, product(products, (64, 128, 256), sizes, (4, 8), (2, 3)))


def _of_weights(channels: int, products: tuple[Products, ...]) -> Iterator[WeightTiles]:
    ways = [(False, size) for size in (16, 32, 64) if size < 2 * 9 * channels]
    ways += [(True, size) for size in (32, 64) if channels % size == 0]
    for how, (rows, terms), *rest in product(
        products, ways, (16, 32, 64), (4,), (2, 3), (1024, 2048)
    ):
        yield WeightTiles(how, rows, rest[0], terms, *rest[1:])


def call_of(attempt: Attempt) -> Callable[[], object]:
    """Return what computes an attempt on random numbers."""
    kernel, layer, cut = attempt
    images, groups, channels, outputs, side = layer
    draw = partial(torch.randn, device="cuda")
    last = torch.channels_last
    seen = draw(images, groups * channels, side, side).contiguous(memory_format=last)
    gradient = draw(images, groups * outputs, side, side).contiguous(memory_format=last)
    weight = draw(groups * outputs, channels, 3, 3)
    if kernel == "by_weight":
        form = tuple(weight.shape)
        return lambda: convolution.by_weight(
            gradient,
            seen,
            form,
            [1, 1],
            groups,
            cut,  # type: ignore[arg-type]
        )
    run = convolution.forward if kernel == "forward" else convolution.by_images
    given = seen if kernel == "forward" else gradient
    return lambda: run(given, weight, [1, 1], groups, cut)  # type: ignore[arg-type]


def compiled(attempt: Attempt) -> bool:
    """Compile an attempt; False if it needs more than the GPU has."""
    try:
        call_of(attempt)()
    except OutOfResources:
        return False
    torch.cuda.synchronize()
    return True


def microseconds(attempt: Attempt) -> float:
    """Return the time of one call."""
    call = call_of(attempt)
    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CALLS):
            call()
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    taken = []
    for _ in range(TURNS):
        began.record()
        graph.replay()
        ended.record()
        torch.cuda.synchronize()
        taken.append(1e3 * began.elapsed_time(ended) / CALLS)
    return median(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workload", nargs="+", default=["W3-5shot"])
    parser.add_argument("--kernel", nargs="+", choices=KERNELS, default=KERNELS)
    parser.add_argument("--rounded", action="store_true", help="to TF32, not exact")
    parser.add_argument("--show", type=int, default=4, help="how many of the fastest")
    arguments = parser.parse_args()
    exact = not arguments.rounded
    layers = dict.fromkeys(
        layer for workload in select(arguments.workload) for layer in layers_of(workload)
    )
    places = [
        (kernel, layer)
        for kernel, layer in product(arguments.kernel, layers)
        if kernel != "by_images" or layer.channels == layer.outputs
    ]
    everything = [
        attempt for place in places for attempt in (chosen(*place, exact), *attempts(*place, exact))
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        runs = list(pool.map(compiled, everything, chunksize=4))
    able = {attempt for attempt, run in zip(everything, runs, strict=True) if run}
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}, microseconds")
    for place in places:
        used = chosen(*place, exact)
        tried = {each: microseconds(each) for each in attempts(*place, exact) if each in able}
        print(f"{place[0]} {place[1]}\n  {microseconds(used):8.1f}  used: {used.cut}")
        for each in sorted(tried, key=tried.__getitem__)[: arguments.show]:
            print(f"  {tried[each]:8.1f}  {each.cut}")


if __name__ == "__main__":
    main()
