from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch

from episodes.episode import Episodes, Split, TaskDistribution
from search import episode_stream
from search.episode_stream import EpisodeStream, Trained, training_rows
from tests.search.small_runs import distribution


def test_the_stream_draws_ahead_what_it_would_draw_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode_stream, "DRAWN_AT_ONCE", 7)
    source = distribution("regression")
    stream = EpisodeStream(source, seed=3)
    for first, count in ((0, 3), (3, 3), (6, 3), (9, 20), (29, 1), (2, 4)):
        found = stream.take(first, count)
        expected = source.sample("train", 3, range(first, first + count))
        assert torch.equal(found.index, expected.index)
        assert torch.equal(found.support.inputs, expected.support.inputs)
        assert torch.equal(found.query.targets, expected.query.targets)


def test_no_more_is_drawn_than_there_will_be() -> None:
    source = distribution("regression")
    drawn = []

    class Counting:
        input_shape = source.input_shape

        def sample(self, split: Split, seed: int, indices: range) -> Episodes:
            drawn.append(len(indices))
            return source.sample(split, seed, indices)

    stream = EpisodeStream(cast(TaskDistribution, Counting()), seed=3, batch=4, episodes=10)
    for first, count in ((0, 4), (4, 4), (8, 2)):
        expected = source.sample("train", 3, range(first, first + count))
        assert torch.equal(stream.take(first, count).query.targets, expected.query.targets)
    assert drawn == [10]


@pytest.mark.parametrize("score", [None, "accuracy"])
def test_of_what_an_algorithm_tells_the_score_alone_is_kept(score: str | None) -> None:
    told = {"query_loss": torch.ones(2), "query_entropy": torch.full((2,), 7.0)}
    if score:
        told["query_accuracy"] = torch.tensor([0.25, 0.5])
    batch = Trained(torch.arange(2), torch.zeros(2, 1, dtype=torch.int64), told, 0.1, 2)
    rows = training_rows([batch, batch], [0], score)
    np.testing.assert_array_equal(rows.loss_after, np.ones(4))
    wanted = [0.25, 0.5, 0.25, 0.5] if score else [np.nan] * 4
    np.testing.assert_array_equal(rows.score_after, wanted)
