"""Summaries of episodes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from search.records import interval


def test_an_interval_is_that_of_the_normal_distribution_over_episodes() -> None:
    # The sample standard deviation of 1, 2, 3, 4 is the root of 5/3, the standard error half of it.
    found = interval(np.array([1.0, 2.0, 3.0, 4.0]))
    assert (found.mean, found.n) == (2.5, 4)
    assert found.ci95_low == pytest.approx(2.5 - 1.96 * 0.6454972)
    assert found.ci95_high == pytest.approx(2.5 + 1.96 * 0.6454972)


def test_one_episode_has_no_interval() -> None:
    found = interval(np.array([1.0]))
    assert (found.mean, found.n) == (1.0, 1)
    assert math.isnan(found.ci95_low)
    assert math.isnan(interval(np.array([])).mean)
