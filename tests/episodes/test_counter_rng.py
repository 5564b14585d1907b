from __future__ import annotations

import numpy as np
import pytest

from episodes.counter_rng import choose, normals, philox4x32, stream_key, uniforms

# Known answers of philox 4x32 with 10 rounds in Random123's kat_vectors: counter, key, output.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def assert_uniform(counts: np.ndarray) -> None:
    """Chi-square against equal expectation, at five standard deviations."""
    expected = counts.sum() / counts.size
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = counts.size - 1
    assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    lanes = tuple(np.full(3, word, dtype=np.uint64) for word in words(counter))
    k0, k1 = words(key)
    for lane, word in zip(philox4x32(lanes, (k0, k1)), words(answer), strict=True):
        assert lane.tolist() == [word] * 3


def test_uniforms_are_the_words_of_consecutive_blocks():
    key = (17, 4)
    index = (5 << 32) + 9
    drawn = uniforms(key, np.array([index]), 6)[0]
    blocks = [
        philox4x32(tuple(np.array(c, dtype=np.uint64) for c in (9, 5, block, 0)), key)
        for block in (0, 1)
    ]
    expected = [int(word) * 2.0**-32 for block in blocks for word in block]
    assert drawn.tolist() == expected[:6]


def test_a_row_depends_on_its_index_alone():
    key = stream_key("stream", "train", 0)
    index = np.array([7, 0, 2**40, 7])
    batch = uniforms(key, index, 9)
    for row, i in zip(batch, index, strict=True):
        np.testing.assert_array_equal(uniforms(key, np.array([i]), 9)[0], row)
        np.testing.assert_array_equal(uniforms(key, np.array([i]), 5)[0], row[:5])


def test_streams_splits_and_seeds_have_keys_of_their_own():
    keys = [
        stream_key(stream, split, seed)
        for stream in ("a", "b")
        for split in ("train", "validation", "test")
        for seed in (0, 1, -1)
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= half < 2**32 for key in keys for half in key)


def test_uniforms_fill_the_unit_interval_evenly_and_independently():
    drawn = uniforms(stream_key("stream", "train", 3), np.arange(20_000), 8)
    assert drawn.shape == (20_000, 8)
    assert drawn.dtype == np.float64
    assert drawn.min() >= 0
    assert drawn.max() < 1
    cells = (drawn * 16).astype(int)
    for column in range(8):
        assert_uniform(np.bincount(cells[:, column], minlength=16))
    # Neighbours within an episode, and the same place in neighbouring episodes.
    assert_uniform(np.bincount(cells[:, 3] * 16 + cells[:, 4], minlength=256))
    assert_uniform(np.bincount(cells[:-1, 0] * 16 + cells[1:, 0], minlength=256))


def test_normals_have_the_moments_and_tails_of_the_normal_distribution():
    drawn = normals(uniforms(stream_key("stream", "train", 3), np.arange(20_000), 16))
    assert drawn.shape == (20_000, 8)
    n = drawn.size
    # Moments 1 to 4 are 0, 1, 0, 3, of variances 1, 2, 15, 96.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((drawn**power).mean() - moment) < 5 * np.sqrt(variance / n)
    within = [(np.abs(drawn) < deviations).mean() for deviations in (1, 2, 3)]
    np.testing.assert_allclose(within, [0.682689, 0.954500, 0.997300], atol=5 * 0.5 / np.sqrt(n))
    assert abs((drawn[:, 0] * drawn[:, 1]).mean()) < 5 / np.sqrt(len(drawn))


def test_normals_are_finite_at_the_ends_and_each_from_its_own_pair():
    largest = 1 - 2.0**-32
    extreme = normals(np.array([0.0, 0.0, largest, 0.0, largest, 0.5, largest, largest]))
    np.testing.assert_allclose(extreme, [0, 6.6604, -6.6604, 6.6604], atol=1e-4)
    draws = uniforms((1, 2), np.arange(5), 6)
    np.testing.assert_array_equal(normals(draws)[:, :2], normals(draws[:, :4]))


def test_a_negative_index_is_refused():
    with pytest.raises(ValueError, match="episode index -2 is negative"):
        uniforms((0, 0), np.array([3, -2]), 1)


@pytest.mark.parametrize(("k", "n"), [(1, 1), (5, 5), (5, 4112), (16, 20), (20, 20), (0, 3)])
def test_choose_agrees_with_taking_from_a_list(k, n):
    draws = uniforms((1, 2), np.arange(200), k)
    for row, picks in zip(draws, choose(draws, n), strict=True):
        pool = list(range(n))
        taken = [pool.pop(int(u * (n - i))) for i, u in enumerate(row)]
        assert picks.tolist() == taken
        assert len(set(taken)) == k


def test_choose_stays_in_range_at_the_largest_number():
    largest = np.full((1, 4), 1 - 2.0**-32)
    assert choose(largest, 4112).tolist() == [[4111, 4110, 4109, 4108]]
    assert choose(np.zeros((1, 4)), 4112).tolist() == [[0, 1, 2, 3]]


def test_every_ordered_pick_is_equally_likely():
    picks = choose(uniforms(stream_key("stream", "test", 5), np.arange(24_000), 3), 4)
    codes = picks @ np.array([16, 4, 1])
    counts = np.bincount(codes, minlength=64)
    assert (counts > 0).sum() == 24
    assert_uniform(counts[counts > 0])


def test_choosing_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="cannot choose 3 of 2"):
        choose(np.zeros((1, 3)), 2)


def test_each_row_may_choose_of_its_own_number():
    draws = uniforms((1, 2), np.arange(6), 3)
    numbers = np.array([3, 4, 100, 7, 3, 1300])
    together = choose(draws, numbers)
    for row, n in enumerate(numbers.tolist()):
        np.testing.assert_array_equal(together[row], choose(draws[row : row + 1], n)[0])
    with pytest.raises(ValueError, match="cannot choose 3 of 2"):
        choose(draws, np.array([3, 4, 2, 7, 3, 9]))
