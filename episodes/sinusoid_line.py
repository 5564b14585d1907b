"""Sinusoids and lines in one distribution: the ambiguous regression of Finn et al. 2018."""

from __future__ import annotations

import numpy as np

from episodes.counter_rng import normals, uniforms
from episodes.digest import json_digest
from episodes.episode import Episodes, Kind, Split, episode_key, index_array
from episodes.functions import between, episodes_of

# Finn, Xu and Levine 2018, "Probabilistic model-agnostic meta-learning", arXiv:1806.02817, the
# experiment on one-dimensional regression: a task is y = a sin(x - p) or y = m x + b.
AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, float(np.pi))
SLOPE = (-3.0, 3.0)
INTERCEPT = (-3.0, 3.0)
INPUT = (-5.0, 5.0)
NOISE = 0.3

_OF_FUNCTION = 3
_OF_EXAMPLE = 3


class SinusoidLine:
    """Functions y = amplitude * sin(x - phase) or y = slope * x + intercept, as likely as not.

    Every parameter and input is drawn uniformly. Normal noise belongs to the data of a task, which
    are drawn first and parted into support and query afterwards, as Torchmeta does: so query
    targets have it, too, and no learner's mean squared error is below noise**2 (0.09).

    inputs and targets are (T, N, 1) float32, N being `shots` for support and `query_shots` for
    query. The three splits are separate streams of functions. Random numbers are equal on every
    machine; a target may differ in its last bit where the C library does.
    """

    name = "sinusoid-line"
    kind: Kind = "regression"
    input_shape: tuple[int, ...] = (1,)
    outputs = 1
    train_classes: int | None = None

    def __init__(self, shots: int, query_shots: int, noise: float = NOISE) -> None:
        """noise: standard deviation of the noise on all targets."""
        self.shots = shots
        self.query_shots = query_shots
        self.noise = noise
        sinusoid = {"amplitude": AMPLITUDE, "phase": PHASE}
        line = {"slope": SLOPE, "intercept": INTERCEPT}
        self.digest = json_digest({**sinusoid, **line, "input": INPUT, "noise": noise})

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        index = index_array(indices)
        examples = self.shots + self.query_shots
        key = episode_key(self.name, split, seed)
        draws = uniforms(key, index, _OF_FUNCTION + _OF_EXAMPLE * examples)
        # The function comes first and each example keeps its own draws, so that neither depends on
        # how many examples there are, or on the noise.
        is_line, first, second = (draws[:, i : i + 1] for i in range(_OF_FUNCTION))
        points = draws[:, _OF_FUNCTION:].reshape(len(index), examples, _OF_EXAMPLE)
        x = between(points[..., 0], INPUT)
        line = between(first, SLOPE) * x + between(second, INTERCEPT)
        sinusoid = between(first, AMPLITUDE) * np.sin(x - between(second, PHASE))
        y = np.where(is_line < 0.5, line, sinusoid) + self.noise * normals(points[..., 1:])[..., 0]
        return episodes_of(x, y, self.shots, index)
