from __future__ import annotations

import pytest
import torch

from search import episode_stream
from search.episode_stream import EpisodeStream
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
