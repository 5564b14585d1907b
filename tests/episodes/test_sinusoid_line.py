from __future__ import annotations

import numpy as np
import torch

from episodes import load
from episodes.sinusoid_line import SinusoidLine


def points(distribution, episodes=1000):
    """Return inputs and targets of one stream, support and query together, as (T, N) arrays."""
    drawn = distribution.sample("validation", 3, range(episodes))
    both = (drawn.support, drawn.query)
    return (
        np.concatenate([part.inputs[..., 0].double().numpy() for part in both], axis=1),
        np.concatenate([part.targets[..., 0].double().numpy() for part in both], axis=1),
    )


def fitted(x, y, columns):
    """Fit a sum of two functions to each row: coefficients (T, 2) and residuals (T, N)."""
    design = np.stack([column(x) for column in columns], axis=2)
    terms = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(design, y, strict=True)])
    return terms, y - (design @ terms[..., None])[..., 0]


def assert_fills(values, low, high):
    """Values lie in a range, and fill it evenly: their mean within five standard errors."""
    assert low - 1e-3 <= values.min() < low + (high - low) / 50
    assert high - (high - low) / 50 < values.max() <= high + 1e-3
    error = (high - low) / np.sqrt(12 * values.size)
    assert abs(values.mean() - (low + high) / 2) < 5 * error


def test_half_are_sinusoids_and_half_are_lines_of_the_published_ranges():
    x, y = points(SinusoidLine(10, 10, noise=0.0))
    assert_fills(x, -5, 5)
    line, from_line = fitted(x, y, (lambda x: x, np.ones_like))
    wave, from_wave = fitted(x, y, (np.sin, lambda x: -np.cos(x)))
    is_line = np.abs(from_line).max(axis=1) < 1e-4
    is_wave = np.abs(from_wave).max(axis=1) < 1e-4
    assert (is_line != is_wave).all()
    assert abs(is_line.mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)
    for parameter in line[is_line].T:
        assert_fills(parameter, -3, 3)
    a_cos, a_sin = wave[is_wave].T
    assert_fills(np.hypot(a_cos, a_sin), 0.1, 5)
    assert_fills(np.arctan2(a_sin, a_cos), 0, np.pi)


def test_noise_is_on_every_target_and_changes_nothing_else():
    task = load("sinusoid-line", shots=10, query_shots=10)
    x, y = points(task)
    x_clean, y_clean = points(SinusoidLine(10, 10, noise=0.0))
    np.testing.assert_array_equal(x, x_clean)
    noise = y - y_clean
    for part in (noise[:, :10], noise[:, 10:]):
        assert abs(part.mean()) < 5 * 0.3 / np.sqrt(part.size)
        assert abs(part.std() - 0.3) < 5 * 0.3 / np.sqrt(2 * part.size)
    assert abs(np.mean(noise[:, 0] * noise[:, 1])) < 5 * 0.3**2 / np.sqrt(len(noise))
    assert task.digest == SinusoidLine(1, 1, noise=0.3).digest != SinusoidLine(1, 1, 0.1).digest


def test_shapes_and_attributes():
    task = load("sinusoid-line", shots=5, query_shots=7)
    episodes = task.sample("train", 0, range(4))
    assert episodes.support.inputs.shape == episodes.support.targets.shape == (4, 5, 1)
    assert episodes.query.inputs.shape == episodes.query.targets.shape == (4, 7, 1)
    assert episodes.support.targets.dtype == torch.float32
    assert episodes.classes.shape == (4, 0)
    assert (task.kind, task.input_shape, task.outputs) == ("regression", (1,), 1)
    assert task.train_classes is None
