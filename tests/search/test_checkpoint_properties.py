"""Whatever a snapshot holds, its checkpoint holds to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from search import checkpoint
from search.config import Config
from search.snapshot import Snapshot

NUMBERS = st.floats() | st.sampled_from([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45])
VALUES: dict[torch.dtype, st.SearchStrategy[Any]] = {
    torch.float32: NUMBERS,
    torch.float64: NUMBERS,
    torch.bfloat16: NUMBERS,
    torch.float16: NUMBERS,
    torch.int64: st.integers(-(2**63), 2**63 - 1),
    torch.int32: st.integers(-(2**31), 2**31 - 1),
    torch.uint8: st.integers(0, 255),
    torch.bool: st.booleans(),
}
"""What the networks, optimizers and algorithms of others may hold, beside our own float32."""
LAYOUTS = {
    "contiguous": lambda value: value,
    "transposed": lambda value: value.movedim(0, -1) if value.dim() else value,
    "strided": lambda value: value[..., ::2] if value.dim() else value,
    "expanded": lambda value: value.expand(2, *value.shape),
    "leaf": lambda value: value.requires_grad_(value.is_floating_point()),
}
NAMES = st.tuples(
    st.sampled_from(["meta/", "state/", "optimizer/exp_avg/"]), st.text(max_size=20)
).map("".join)
STATES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    dtype = draw(st.sampled_from(list(VALUES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    count = torch.Size(shape).numel()
    values = draw(st.lists(VALUES[dtype], min_size=count, max_size=count))
    return LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](
        torch.tensor(values, dtype=dtype).reshape(shape)
    )


def bits(value: Tensor) -> bytes:
    flat = value.detach().flatten().clone(memory_format=torch.contiguous_format)
    return bytes(flat.view(torch.uint8).tolist())


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.dictionaries(NAMES, tensors(), max_size=4), st.dictionaries(st.text(), STATES))
@example({}, {})
@example({"meta/none": torch.empty(0, 3), "meta/scalar": torch.tensor(float("nan"))}, {})
def test_a_snapshot_comes_back_to_the_last_bit(
    config: Config, held: dict[str, Tensor], state: dict[str, Any]
) -> None:
    with TemporaryDirectory() as folder:
        checkpoint.save(Path(folder), Snapshot(held, state), config)
        found = checkpoint.load(Path(folder), config).snapshot
    assert found.tensors.keys() == held.keys()
    for name, value in held.items():
        again = found.tensors[name]
        assert (again.dtype, again.shape) == (value.dtype, value.shape)
        assert bits(again) == bits(value)
    # As text, in which NaN is NaN, and 1 neither 1.0 nor true.
    assert json.dumps(found.state) == json.dumps(state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_of_one_tensor_come_back_apart(
    tmp_path: Path, config: Config, dtype: torch.dtype
) -> None:
    """As the replicas of a stack are, which share what they lie in."""
    stack = torch.arange(6.0, dtype=dtype).reshape(2, 3)
    parts = {"meta/first": stack[0], "meta/second": stack[1]}
    checkpoint.save(tmp_path, Snapshot(parts, {}), config)
    found = checkpoint.load(tmp_path).snapshot.tensors
    assert {name: value.tolist() for name, value in found.items()} == {
        "meta/first": [0.0, 1.0, 2.0],
        "meta/second": [3.0, 4.0, 5.0],
    }
