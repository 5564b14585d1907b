"""Random numbers of an episode: of its key alone, as even and as unrelated as they should be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from algorithms.parts.noise import keys_of, logistic, uniform
from tests.algorithms.reference import noise as plain

INT64 = st.integers(-(2**63), 2**63 - 1)
MANY = torch.arange(2000)


def signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_the_plain_generator_gives_the_published_numbers() -> None:
    """The first numbers of splitmix64 with state 1234567, as its reference implementation has."""
    step = 0x9E3779B97F4A7C15
    found = [plain.splitmix64((1234567 + i * step) % 2**64) for i in range(5)]
    assert found == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@settings(deadline=None)
@given(seed=INT64, index=st.integers(0, 2**40))
def test_keys_are_those_of_integer_arithmetic(seed: int, index: int) -> None:
    """Python's integers know no device and no overflow."""
    found = keys_of(seed, torch.tensor([index]))
    assert found.dtype == torch.int64
    assert found.tolist() == [signed(plain.key(seed, index))]


@settings(deadline=None)
@given(key=INT64, stream=st.integers(0, 1000), count=st.integers(1, 20))
def test_numbers_are_those_of_integer_arithmetic(key: int, stream: int, count: int) -> None:
    found = uniform(torch.tensor([key]), stream, count)
    assert found.dtype == torch.float64
    assert found.tolist() == [plain.uniform(key % 2**64, stream, count)]
    assert ((found > 0) & (found < 1)).all()
    relaxed = logistic(torch.tensor([key]), stream, count)[0].tolist()
    assert relaxed == pytest.approx(plain.logistic(key % 2**64, stream, count), abs=1e-12)


@settings(deadline=None)
@given(indices=st.lists(st.integers(0, 10**9), min_size=1, max_size=8), first=st.integers(0, 7))
def test_an_episode_is_alone_with_its_key(indices: list[int], first: int) -> None:
    """Neither the batch around it nor its place there matters."""
    keys = keys_of(5, torch.tensor(indices))
    together = uniform(keys, 3, 4)
    turned = uniform(keys.flip(0), 3, 4).flip(0)
    assert torch.equal(together, turned)
    at = first % len(indices)
    assert torch.equal(together[at : at + 1], uniform(keys[at : at + 1], 3, 4))
    assert torch.equal(keys[at : at + 1], keys_of(5, torch.tensor(indices[at : at + 1])))


def test_more_numbers_begin_with_fewer() -> None:
    keys = keys_of(0, torch.arange(3))
    assert torch.equal(uniform(keys, 2, 9)[:, :4], uniform(keys, 2, 4))


def test_moments_of_uniform_numbers() -> None:
    drawn = uniform(keys_of(1, MANY), 0, 100)
    assert drawn.shape == (len(MANY), 100)
    assert float(drawn.mean()) == pytest.approx(1 / 2, abs=3e-3)
    assert float(drawn.var()) == pytest.approx(1 / 12, abs=1e-3)
    counts = torch.histc(drawn, 20, 0, 1) / drawn.numel()
    assert counts.tolist() == pytest.approx([1 / 20] * 20, abs=3e-3)


def test_moments_of_logistic_numbers() -> None:
    drawn = logistic(keys_of(1, MANY), 0, 100)
    assert drawn.isfinite().all()
    assert float(drawn.mean()) == pytest.approx(0, abs=0.02)
    assert float(drawn.var()) == pytest.approx(math.pi**2 / 3, abs=0.05)
    assert float((drawn < math.log(3)).double().mean()) == pytest.approx(3 / 4, abs=5e-3)


def test_the_ends_of_the_interval_are_never_reached() -> None:
    """The smallest and largest of 52 bits are half a step away from 0 and 1."""
    ends = torch.tensor([0.5, 2**52 - 0.5], dtype=torch.float64) * 2.0**-52
    assert ends[0] > 0
    assert ends[1] < 1
    assert (torch.log(ends) - torch.log1p(-ends)).isfinite().all()


@pytest.mark.parametrize("shift", [1, 7, 1000])
def test_seeds_and_streams_and_episodes_have_nothing_in_common(shift: int) -> None:
    first = uniform(keys_of(0, MANY), 0, 50)
    others = {
        "seed": uniform(keys_of(shift, MANY), 0, 50),
        "negative seed": uniform(keys_of(-shift, MANY), 0, 50),
        "stream": uniform(keys_of(0, MANY), shift, 50),
        "episode": uniform(keys_of(0, MANY + shift), 0, 50),
        "number": uniform(keys_of(0, MANY), 0, 50 + shift)[:, shift:],
    }
    overlapping = {"episode": first[shift:], "number": first[:, shift:]}
    for name, other in others.items():
        assert abs(correlation(first, other)) < 0.015, name
        if name not in overlapping:
            assert not (first.unsqueeze(-1)[:20] == other[:20].unsqueeze(1)).any()


def test_keys_do_not_collide() -> None:
    keys = torch.cat([keys_of(seed, torch.arange(20_000)) for seed in range(5)])
    assert len(keys.unique()) == len(keys)
