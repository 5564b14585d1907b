from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from networks import Params
from search.outer_loop import SCHEDULES, OuterLoop, schedule

OPTIMIZERS = ("adam", "adamw", "sgd", "momentum")


def hyper(**changes: Any) -> dict[str, Any]:
    defaults = {"outer_lr": 0.1, "outer_optimizer": "sgd", "outer_schedule": "constant"}
    return defaults | {"clip_norm": 0.0} | changes


def parameters() -> Params:
    rng = torch.Generator().manual_seed(0)
    return {"w": torch.randn(2, 3, generator=rng), "rate/w": torch.randn(3, generator=rng)}


def gradients(seed: int) -> Params:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=rng) for name, value in parameters().items()}


def test_schedules_start_at_one_and_fall_to_zero() -> None:
    assert [schedule(kind, 0.0) for kind in SCHEDULES] == [1.0, 1.0, 1.0]
    assert [schedule("constant", p) for p in (0.3, 1.0)] == [1.0, 1.0]
    assert [schedule("linear", p) for p in (0.25, 1.0)] == [0.75, 0.0]
    assert [schedule("cosine", p) for p in (0.5, 1.0)] == pytest.approx([0.5, 0.0])
    assert schedule("cosine", 1 / 3) == pytest.approx(0.75)


def test_sgd_takes_a_scheduled_step_in_place() -> None:
    meta, gradient = parameters(), gradients(1)
    outer = OuterLoop(meta, hyper(outer_schedule="linear"))
    outer.step(gradient, progress=0.5)
    for name, start in parameters().items():
        torch.testing.assert_close(meta[name], start - 0.05 * gradient[name])


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_that_of_torch_to_the_last_bit(optimizer: str, decay: float) -> None:
    meta = parameters()
    changes = {"outer_optimizer": optimizer, "weight_decay": decay, "outer_schedule": "cosine"}
    outer = OuterLoop(meta, hyper(**changes))
    theirs = parameters()
    make = {
        "adam": functools.partial(torch.optim.Adam, fused=True),
        "adamw": functools.partial(torch.optim.AdamW, fused=True),
        "sgd": torch.optim.SGD,
        "momentum": functools.partial(torch.optim.SGD, momentum=0.9),
    }[optimizer]
    by_torch: torch.optim.Optimizer = make(theirs.values(), lr=0.1, weight_decay=decay)
    for step in range(4):
        outer.step(gradients(step), progress=step / 4)
        by_torch.param_groups[0]["lr"] = 0.1 * schedule("cosine", step / 4)
        for name, value in theirs.items():
            value.grad = gradients(step)[name]
        by_torch.step()
    for name, value in theirs.items():
        assert torch.equal(meta[name], value)
    saved = {
        f"optimizer/{slot}/{name}": content
        for name, value in theirs.items()
        for slot, content in by_torch.state[value].items()
    }
    ours = outer.tensors()
    assert ours.keys() == saved.keys()
    assert all(torch.equal(ours[key], content) for key, content in saved.items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradients_move_their_own_entries_however_they_lie_in_memory(optimizer: str) -> None:
    """As where autograd returns them transposed, in channels last, or expanded."""
    shape = (4, 3, 2, 2)
    whole = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    layouts = {
        "whole": whole,
        "transposed": whole.transpose(0, 1).contiguous().transpose(0, 1),
        "channels last": whole.contiguous(memory_format=torch.channels_last),
        "part": torch.stack([whole, whole + 1], -1)[..., 0],
        "expanded": torch.ones(1, 1, 1, 1).expand(shape),
    }
    meta = {name: torch.zeros(shape) for name in layouts}
    outer = OuterLoop(meta, hyper(outer_optimizer=optimizer))
    for _ in range(2):
        outer.step(layouts, progress=0.0)
    for name in ("transposed", "channels last", "part"):
        assert torch.equal(meta[name], meta["whole"]), name
    assert (meta["expanded"] == meta["expanded"].flatten()[0]).all()


def test_clipping_bounds_the_norm_of_the_whole_gradient() -> None:
    gradient = {"w": torch.full((2, 3), 3.0), "rate/w": torch.full((3,), 4.0)}
    norm = (6 * 9 + 3 * 16) ** 0.5
    for bound in (2.0, 1000.0):
        meta = parameters()
        OuterLoop(meta, hyper(clip_norm=bound)).step(
            {name: value.clone() for name, value in gradient.items()}, progress=0.0
        )
        factor = min(1.0, bound / norm)
        for name, start in parameters().items():
            torch.testing.assert_close(meta[name], start - 0.1 * factor * gradient[name])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_as_the_one_it_is_from(optimizer: str) -> None:
    meta = parameters()
    outer = OuterLoop(meta, hyper(outer_optimizer=optimizer))
    for step in range(3):
        outer.step(gradients(step), progress=0.0)
    tensors = outer.tensors()
    copy = {name: value.clone() for name, value in meta.items()}
    restored = OuterLoop(copy, hyper(outer_optimizer=optimizer))
    restored.restore(tensors | {"meta/w": torch.zeros(2, 3), "state/running": torch.ones(1)})
    for step in range(3, 6):
        outer.step(gradients(step), progress=0.0)
        restored.step(gradients(step), progress=0.0)
    for name, value in meta.items():
        assert torch.equal(copy[name], value)
    assert restored.tensors().keys() == outer.tensors().keys()


def test_saved_tensors_are_copies_with_the_parameters_names() -> None:
    outer = OuterLoop(parameters(), hyper(outer_optimizer="adam"))
    assert outer.tensors() == {}
    outer.step(gradients(0), progress=0.0)
    saved = outer.tensors()
    slots = ("step", "exp_avg", "exp_avg_sq")
    assert saved.keys() == {f"optimizer/{s}/{n}" for s in slots for n in ("w", "rate/w")}
    before = saved["optimizer/exp_avg/w"].clone()
    outer.step(gradients(1), progress=0.0)
    assert torch.equal(saved["optimizer/exp_avg/w"], before)
    outer.restore(saved)
    outer.step(gradients(1), progress=0.0)
    assert torch.equal(saved["optimizer/exp_avg/w"], before)
