from __future__ import annotations

import numpy as np
import pytest
import torch

from episodes import load
from episodes.counter_rng import stream_key, uniforms


@pytest.fixture
def sinusoid():
    return load("sinusoid", shots=10, query_shots=15)


def test_shapes_and_attributes(sinusoid):
    episodes = sinusoid.sample("train", 0, range(4))
    assert len(episodes) == 4
    assert episodes.support.inputs.shape == episodes.support.targets.shape == (4, 10, 1)
    assert episodes.query.inputs.shape == episodes.query.targets.shape == (4, 15, 1)
    assert episodes.support.inputs.dtype == episodes.support.targets.dtype == torch.float32
    assert episodes.classes.shape == (4, 0)
    assert episodes.index.tolist() == [0, 1, 2, 3]
    assert (sinusoid.kind, sinusoid.input_shape, sinusoid.outputs) == ("regression", (1,), 1)
    assert sinusoid.train_classes is None


def test_points_lie_on_one_curve_within_the_published_ranges(sinusoid):
    episodes = sinusoid.sample("test", 1, range(500))
    x = torch.cat([episodes.support.inputs, episodes.query.inputs], dim=1).double()
    y = torch.cat([episodes.support.targets, episodes.query.targets], dim=1).double()
    # a sin(x - p) = (a cos p) sin x - (a sin p) cos x is linear in two unknowns.
    solution = torch.linalg.lstsq(torch.cat([torch.sin(x), -torch.cos(x)], dim=2), y).solution
    a_cos, a_sin = solution[:, 0, 0], solution[:, 1, 0]
    amplitude, phase = torch.hypot(a_cos, a_sin), torch.atan2(a_sin, a_cos)
    torch.testing.assert_close(
        amplitude[:, None, None] * torch.sin(x - phase[:, None, None]), y, atol=1e-5, rtol=0
    )
    for values, low, high in ((amplitude, 0.1, 5.0), (phase, 0.0, np.pi), (x, -5.0, 5.0)):
        assert values.min() >= low - 1e-4
        assert values.max() <= high + 1e-4
        # The range is filled, and evenly: its mean within five standard errors of its middle.
        width = high - low
        assert values.min() < low + width / 50
        assert values.max() > high - width / 50
        error = width / np.sqrt(12 * values.numel())
        assert abs(values.mean() - (low + high) / 2) < 5 * error


def test_noise_is_on_every_target_and_changes_nothing_else(sinusoid):
    clean = sinusoid.sample("train", 2, range(100))
    task = load("sinusoid", shots=10, query_shots=15, options={"noise": 0.5})
    noisy = task.sample("train", 2, range(100))
    for one, other, count in (
        (clean.support, noisy.support, 1000),
        (clean.query, noisy.query, 1500),
    ):
        assert torch.equal(one.inputs, other.inputs)
        noise = (other.targets - one.targets).double()
        assert abs(noise.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * count)
        assert abs(noise.mean()) < 5 * 0.5 / np.sqrt(count)
    alone = task.sample("train", 2, range(40, 41))
    assert torch.equal(alone.query.targets, noisy.query.targets[40:41])
    other = task.sample("validation", 2, range(100)).query.targets
    assert not torch.equal(other, noisy.query.targets)
    assert noisy.query.targets.dtype == torch.float32
    assert task.digest != sinusoid.digest
    assert (
        load("sinusoid", shots=1, query_shots=1, options={"noise": 0.0}).digest == sinusoid.digest
    )


def test_the_curve_does_not_depend_on_the_number_of_examples(sinusoid):
    few = load("sinusoid", shots=1, query_shots=1).sample("train", 0, range(3))
    many = sinusoid.sample("train", 0, range(3))
    torch.testing.assert_close(few.support.inputs, many.support.inputs[:, :1], atol=0, rtol=0)
    torch.testing.assert_close(few.support.targets, many.support.targets[:, :1], atol=0, rtol=0)


def test_splits_and_seeds_share_no_curve(sinusoid):
    streams = [
        uniforms(stream_key("sinusoid", split, seed), np.arange(1000), 2)
        for split in ("train", "validation", "test")
        for seed in (0, 1)
    ]
    curves = {tuple(curve) for stream in streams for curve in stream}
    assert len(curves) == 6000
    for split in ("validation", "test"):
        other = sinusoid.sample(split, 0, range(1))
        assert not torch.equal(
            other.query.inputs, sinusoid.sample("train", 0, range(1)).query.inputs
        )


def test_the_batch_does_not_share_memory_with_the_callers_indices(sinusoid):
    index = np.array([3, 4])
    episodes = sinusoid.sample("train", 0, index)
    index[:] = 0
    assert episodes.index.tolist() == [3, 4]
