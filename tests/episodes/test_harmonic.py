from __future__ import annotations

import numpy as np
import pytest
import torch

from episodes import load
from episodes.harmonic import Harmonic

FREQUENCIES = np.linspace(5, 7, 4001)


@pytest.fixture(scope="module")
def points():
    """Inputs and targets of 300 curves, 40 points each, as (300, 40) arrays."""
    episodes = load("harmonic", shots=20, query_shots=20).sample("test", 1, range(300))
    both = (episodes.support, episodes.query)
    return (
        np.concatenate([part.inputs[..., 0].double().numpy() for part in both], axis=1),
        np.concatenate([part.targets[..., 0].double().numpy() for part in both], axis=1),
    )


def test_shapes_and_attributes():
    harmonic = load("harmonic", shots=10, query_shots=15)
    episodes = harmonic.sample("train", 0, range(4))
    assert episodes.support.inputs.shape == episodes.support.targets.shape == (4, 10, 1)
    assert episodes.query.inputs.shape == episodes.query.targets.shape == (4, 15, 1)
    assert episodes.support.inputs.dtype == episodes.support.targets.dtype == torch.float32
    assert episodes.classes.shape == (4, 0)
    assert (harmonic.kind, harmonic.input_shape, harmonic.outputs) == ("regression", (1,), 1)


def fitted(x, y):
    """Fit the published formula to the points of a curve: its frequency, terms, and residual.

    Given the frequency, a sin(w x + b) = (a cos b) sin w x + (a sin b) cos w x is linear.
    """

    def fit(w):
        columns = [f(k * w * x) for k in (1, 2) for f in (np.sin, np.cos)]
        terms, *_ = np.linalg.lstsq(np.stack(columns, axis=1), y, rcond=None)
        return terms, np.abs(np.stack(columns, axis=1) @ terms - y).max()

    frequency = min(FREQUENCIES, key=lambda w: fit(w)[1])
    for step in (1e-4, 1e-5, 1e-6, 1e-7):
        frequency = min(frequency + step * np.arange(-10, 11), key=lambda w: fit(w)[1])
    return frequency, *fit(frequency)


def test_points_lie_on_sums_of_two_sines_of_the_published_frequencies(points):
    found = [fitted(x, y) for x, y in zip(points[0][:24], points[1][:24], strict=True)]
    frequencies = [frequency for frequency, _, _ in found]
    assert max(residual for _, _, residual in found) < 1e-4
    assert 5 <= min(frequencies) < 5.4
    assert 6.6 < max(frequencies) <= 7
    phases = [np.arctan2(terms[1::2], terms[0::2]) % (2 * np.pi) for _, terms, _ in found]
    assert np.bincount((np.concatenate(phases) / (np.pi / 2)).astype(int), minlength=4).min() > 4


def test_moments_are_the_published_ones(points):
    x, y = points
    # x is normal around a center that is uniform on [-4, 4].
    assert abs(x.mean()) < 5 * np.sqrt((64 / 12 + 1) / 300)
    assert x.mean(axis=1).min() > -5
    assert x.mean(axis=1).max() < 5
    assert abs(x.var(axis=1, ddof=1).mean() - 1) < 5 * np.sqrt(2 / (39 * 300))
    assert abs(x.mean(axis=1).var() - (64 / 12 + 1 / 40)) < 1
    # Two amplitudes of variance 1, at a random phase each: a variance of 1/2 + 1/2.
    assert abs(y.mean()) < 0.1
    assert abs((y**2).mean() - 1) < 0.25


def test_noise_is_on_every_target_and_changes_nothing_else():
    clean = Harmonic(30, 30).sample("train", 2, range(100))
    noisy = Harmonic(30, 30, noise=0.5).sample("train", 2, range(100))
    for one, other in ((clean.support, noisy.support), (clean.query, noisy.query)):
        assert torch.equal(one.inputs, other.inputs)
        noise = (other.targets - one.targets).double()
        assert abs(noise.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * 3000)
        assert abs(noise.mean()) < 5 * 0.5 / np.sqrt(3000)
    assert Harmonic(30, 30).digest != Harmonic(30, 30, noise=0.5).digest
    assert Harmonic(30, 30).digest == Harmonic(1, 1).digest
