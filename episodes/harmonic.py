"""Harmonic regression: sums of two sine waves, the toy problem of Lacoste et al. 2018."""

from __future__ import annotations

import numpy as np

from episodes.counter_rng import normals, uniforms
from episodes.digest import json_digest
from episodes.episode import Episodes, Kind, Split, episode_key, index_array
from episodes.functions import between, episodes_of

# Lacoste et al. 2018, "Uncertainty in multitask transfer learning", arXiv:1806.07528, on harmonics,
# with the ranges that Torchmeta's `Harmonic` takes from it.
FREQUENCY = (5.0, 7.0)
PHASE = (0.0, 2 * float(np.pi))
CENTER = (-4.0, 4.0)

_OF_CURVE = 8
_OF_EXAMPLE = 4


class Harmonic:
    """Curves y = a1 sin(w x + b1) + a2 sin(2 w x + b2), each seen around a place of its own.

    The amplitudes a1, a2 are standard normal; the frequency w, the phases b1, b2 and the center
    are uniform; inputs are normal with deviation 1 around the center. So the next task lies
    elsewhere on the axis, and whoever predicts 0 has a mean squared error of 1.

    inputs and targets are (T, N, 1) float32, N being `shots` for support and `query_shots` for
    query. The three splits are separate streams of curves. Random numbers are equal on every
    machine; a value may differ in its last bit where the C library does.
    """

    name = "harmonic"
    kind: Kind = "regression"
    input_shape: tuple[int, ...] = (1,)
    outputs = 1
    train_classes: int | None = None

    def __init__(self, shots: int, query_shots: int, noise: float = 0.0) -> None:
        """noise: standard deviation of the normal noise on all targets, query included."""
        self.shots = shots
        self.query_shots = query_shots
        self.noise = noise
        self.digest = json_digest(
            {"frequency": FREQUENCY, "phase": PHASE, "center": CENTER, "noise": noise}
        )

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        index = index_array(indices)
        examples = self.shots + self.query_shots
        key = episode_key(self.name, split, seed)
        draws = uniforms(key, index, _OF_CURVE + _OF_EXAMPLE * examples)
        # The curve comes first and each example keeps its own draws, so that neither depends on
        # how many examples there are, or on the noise.
        curve, points = draws[:, :_OF_CURVE], draws[:, _OF_CURVE:]
        center = between(curve[:, 0:1], CENTER)
        frequency = between(curve[:, 1:2], FREQUENCY)
        phase1, phase2 = (between(curve[:, i : i + 1], PHASE) for i in (2, 3))
        amplitude = normals(curve[:, 4:])
        normal = normals(points.reshape(len(index), examples, _OF_EXAMPLE))
        x = center + normal[..., 0]
        y = amplitude[:, 0:1] * np.sin(frequency * x + phase1)
        y += amplitude[:, 1:2] * np.sin(2 * frequency * x + phase2)
        return episodes_of(x, y + self.noise * normal[..., 1], self.shots, index)
