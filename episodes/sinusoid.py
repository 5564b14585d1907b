"""Sinusoid regression: the few-shot problem of Finn et al. 2017 (MAML), section 5.1."""

from __future__ import annotations

import numpy as np

from episodes.counter_rng import normals, stream_key, uniforms
from episodes.digest import json_digest
from episodes.episode import Episodes, Kind, Split, episode_key, index_array
from episodes.functions import between, episodes_of

# Finn et al. 2017, "Model-agnostic meta-learning", section 5.1: a task is y = a sin(x - p).
AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, float(np.pi))
INPUT = (-5.0, 5.0)


class Sinusoid:
    """Curves y = amplitude * sin(x - phase), every parameter and input drawn uniformly.

    inputs and targets are (T, N, 1) float32, N being `shots` for support and `query_shots` for
    query. The three splits are separate streams of curves. Random numbers are equal on every
    machine; a target may differ in its last bits where numpy's sine of 32-bit numbers does.
    """

    name = "sinusoid"
    kind: Kind = "regression"
    input_shape: tuple[int, ...] = (1,)
    outputs = 1
    train_classes: int | None = None

    def __init__(self, shots: int, query_shots: int, noise: float = 0.0) -> None:
        """noise: standard deviation of normal noise on all targets; none in the paper."""
        self.shots = shots
        self.query_shots = query_shots
        self.noise = noise
        curves = {"amplitude": AMPLITUDE, "phase": PHASE, "input": INPUT, "sine": "float32"}
        self.digest = json_digest({**curves, "noise": noise} if noise else curves)

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        index = index_array(indices)
        key = episode_key(self.name, split, seed)
        draws = uniforms(key, index, 2 + self.shots + self.query_shots)
        # The curve comes first, so that it is the same for every number of examples.
        amplitude = between(draws[:, 0:1], AMPLITUDE)
        phase = between(draws[:, 1:2], PHASE)
        x = between(draws[:, 2:], INPUT)
        # Most of the time goes into the sine, which is far faster in 32-bit numbers.
        y = amplitude.astype(np.float32) * np.sin((x - phase).astype(np.float32))
        if self.noise:
            # A stream of its own, so that it changes nothing else.
            key = stream_key(f"{self.name}/noise", split, seed)
            y = (
                y
                + self.noise
                * normals(uniforms(key, index, 2 * x.shape[1]).reshape(*x.shape, 2))[..., 0]
            )
        return episodes_of(x, y, self.shots, index)
