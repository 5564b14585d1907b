"""The search for tiles: what is tried, and on a GPU that it runs."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")
from benchmarks import tiles
from benchmarks.workloads import WORKLOADS
from networks.gpu.tiles import MapTiles, WeightTiles

LAYERS = list(tiles.layers_of(WORKLOADS["W3-5shot"]))


def test_layers_are_those_of_the_workload() -> None:
    assert LAYERS[0] == tiles.Layer(25, 4, 3, 32, 84)
    assert [layer.side for layer in LAYERS[:4]] == [84, 42, 21, 10]
    assert {layer.images for layer in LAYERS[4:]} == {75}


@pytest.mark.parametrize("kernel", tiles.KERNELS)
@pytest.mark.parametrize("exact", [True, False])
def test_what_is_tried_is_valid_and_differs(kernel: str, exact: bool) -> None:
    for layer in LAYERS[:4]:
        used = tiles.chosen(kernel, layer, exact)
        tried = list(tiles.attempts(kernel, layer, exact))
        assert len(set(tried)) == len(tried) > 10
        kind = WeightTiles if kernel == "by_weight" else MapTiles
        for each in (used, *tried):
            assert isinstance(each.cut, kind)
            assert (each.cut.products == "tf32") is not exact
            # Triton's tiles have powers of 2 as sides.
            assert all(size & (size - 1) == 0 for size in (each.cut.places, each.cut.terms))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_a_call_is_timed() -> None:
    attempt = tiles.chosen("by_weight", tiles.Layer(2, 2, 3, 8, 8), True)
    assert tiles.compiled(attempt)
    assert tiles.microseconds(attempt) > 0
