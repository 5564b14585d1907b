from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from episodes import DataError, EpisodeLoader, load
from episodes.episode import joined


@pytest.fixture(scope="module")
def sinusoid():
    return load("sinusoid", shots=3, query_shots=2)


def test_batches_are_the_episodes_in_order(sinusoid):
    loader = EpisodeLoader(sinusoid, "train", seed=4, batch_size=4, start=3, stop=13)
    batches = list(loader)
    assert [batch.index.tolist() for batch in batches] == [
        [3, 4, 5, 6],
        [7, 8, 9, 10],
        [11, 12],
    ]
    assert len(loader) == 3
    whole = sinusoid.sample("train", 4, range(3, 13))
    assert torch.equal(joined(batches).query.targets, whole.query.targets)


def test_every_pass_is_the_same(sinusoid):
    loader = EpisodeLoader(sinusoid, "test", seed=0, batch_size=2, stop=6)
    first, second = list(loader), list(loader)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.support.inputs, other.support.inputs)


@pytest.mark.parametrize(("start", "stop", "batches"), [(0, 0, 0), (5, 5, 0), (0, 8, 2), (0, 9, 3)])
def test_its_length_is_that_of_a_pass(sinusoid, start, stop, batches):
    loader = EpisodeLoader(sinusoid, "train", 0, 4, start, stop)
    assert len(loader) == len(list(loader)) == batches


def test_without_a_stop_it_goes_on_for_ever(sinusoid):
    loader = EpisodeLoader(sinusoid, "train", seed=0, batch_size=5, start=10**12)
    assert [batch.index[0].item() - 10**12 for batch in islice(loader, 4)] == [0, 5, 10, 15]
    with pytest.raises(TypeError, match="goes on for ever"):
        len(loader)


def test_its_numbers_may_be_of_numpy(sinusoid):
    numbers = {"seed": 1, "batch_size": 2, "start": 1, "stop": 6}
    plain = EpisodeLoader(sinusoid, "train", **numbers)
    other = EpisodeLoader(sinusoid, "train", **{k: np.int64(v) for k, v in numbers.items()})
    assert len(other) == len(plain) == 3
    for one, two in zip(plain, other, strict=True):
        assert torch.equal(one.query.inputs, two.query.inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "split: 'dev': must be one of train, validation, test"),
        ({"batch_size": 0}, "batch_size: 0: must be a whole number, at least 1"),
        ({"batch_size": 2.0}, "batch_size: 2.0: must be a whole number"),
        ({"seed": 1.0}, "seed: 1.0: must be a whole number"),
        ({"batch_size": True}, "batch_size: True: must be a whole number, at least 1"),
        ({"start": -1}, "start: -1: must be a whole number, at least 0"),
        ({"start": 5, "stop": 4}, "stop: 4: must be a whole number, at least 5"),
    ],
)
def test_wrong_arguments_are_named(sinusoid, arguments, message):
    usual = {"split": "train", "seed": 0, "batch_size": 1}
    with pytest.raises(DataError, match=message):
        EpisodeLoader(sinusoid, **(usual | arguments))
