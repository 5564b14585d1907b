"""Greedy decoding and beam search on tables of probabilities, and the scores of what comes out."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from episodes.translation.decoding import LENGTH_POWER, decode
from episodes.translation.scores import scores
from episodes.translation.subwords import BEGIN, END, PADDING

SYMBOLS, LONGEST, WIDTH = 6, 4, 3


class Table:
    """Logits that depend on the source and all that is translated so far, as random numbers."""

    def __init__(self, scale: float = 2.0) -> None:
        self.calls = 0
        self.scale = scale

    def logits(self, source: list[int], before: list[int]) -> Tensor:
        seed = hash((*source, *before)) % 2**31
        return self.scale * torch.randn(SYMBOLS, generator=torch.Generator().manual_seed(seed))

    def __call__(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        rows = inputs.flatten(0, 1).tolist()
        places = range(max(sum(symbol != PADDING for symbol in row[WIDTH:]) for row in rows))
        found = [
            torch.stack([self.logits(row[:WIDTH], row[WIDTH : WIDTH + n + 1]) for n in places])
            for row in rows
        ]
        return torch.stack(found).unflatten(0, inputs.shape[:2])


def sources(episodes: int = 2, count: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(4)
    return torch.randint(3, SYMBOLS, (episodes, count, WIDTH), generator=rng)


def greedy(table: Table, source: list[int]) -> list[int]:
    found: list[int] = []
    while len(found) < LONGEST and END not in found:
        logits = table.logits(source, [BEGIN, *found])
        allowed = [END, *range(3, SYMBOLS)]
        found.append(max(allowed, key=lambda symbol: float(logits[symbol])))
    return found


def score(table: Table, source: list[int], symbols: list[int]) -> float:
    total = 0.0
    for place, symbol in enumerate(symbols):
        logits = table.logits(source, [BEGIN, *symbols[:place]])
        logits[[PADDING, BEGIN]] = -math.inf
        total += float(logits.log_softmax(-1)[symbol])
    return total / ((5 + len(symbols)) / 6) ** LENGTH_POWER


def stripped(row: Tensor) -> list[int]:
    return [symbol for symbol in row.tolist() if symbol != PADDING]


def test_greedy_takes_the_likeliest_symbol_each_time() -> None:
    table, given = Table(), sources()
    found = decode(table, given, LONGEST)
    assert found.shape == (2, 3, LONGEST)
    ended = 0
    for source, row in zip(given.flatten(0, 1), found.flatten(0, 1), strict=True):
        assert stripped(row) == greedy(table, source.tolist())
        ended += END in row.tolist()
    assert ended > 0


def test_a_beam_as_wide_as_all_there_is_finds_the_best_of_all() -> None:
    table, given = Table(0.5), sources(1, 2)
    letters = [END, *range(3, SYMBOLS)]
    every = [
        list(symbols)
        for length in range(1, LONGEST + 1)
        for symbols in product(letters, repeat=length)
        if END not in symbols[:-1] and (symbols[-1] == END or length == LONGEST)
    ]
    # The search may stop once its best has ended, so the best is sought among what it can see.
    found = decode(table, given, LONGEST, beam=len(every))
    better_than_greedy = 0
    for source, row in zip(given[0].tolist(), found[0], strict=True):
        own = score(table, source, stripped(row))
        assert own >= score(table, source, greedy(table, source)) - 1e-5
        better_than_greedy += own > score(table, source, greedy(table, source)) + 1e-3
        shorter = [each for each in every if len(each) <= len(stripped(row))]
        ended = [each for each in shorter if each[-1] == END or len(each) == LONGEST]
        assert own == pytest.approx(max(score(table, source, each) for each in ended), abs=1e-5)
    assert better_than_greedy


def test_it_stops_when_every_sentence_has_ended() -> None:
    def ending(inputs: Tensor) -> Tensor:
        calls.append(inputs)
        logits = torch.zeros(*inputs.shape[:2], LONGEST, SYMBOLS)
        logits[..., 5 if len(calls) == 1 else END] = 3.0
        return logits

    calls: list[Tensor] = []
    found = decode(ending, sources(), LONGEST)
    assert len(calls) == 2
    assert found.tolist() == [[[5, END, PADDING, PADDING]] * 3] * 2
    assert calls[0][..., WIDTH:].tolist() == [[[BEGIN, PADDING, PADDING, PADDING]] * 3] * 2
    assert calls[1][..., WIDTH:].tolist() == [[[BEGIN, 5, PADDING, PADDING]] * 3] * 2


@pytest.mark.parametrize("beam", [1, 3])
def test_sentences_do_not_depend_on_each_other(beam: int) -> None:
    given = sources()
    together = decode(Table(), given, LONGEST, beam)
    for episode, example in product(range(2), range(3)):
        one = given[episode : episode + 1, example : example + 1]
        alone = decode(Table(), one, LONGEST, beam)
        assert torch.equal(alone[0, 0], together[episode, example])


def test_neither_padding_nor_the_begin_sign_is_put_out() -> None:
    def signs(inputs: Tensor) -> Tensor:
        logits = torch.zeros(*inputs.shape[:2], LONGEST, SYMBOLS)
        logits[..., [PADDING, BEGIN]] = 9.0
        logits[..., 4] = 1.0
        return logits

    assert decode(signs, sources(1, 1), LONGEST).tolist() == [[[4] * LONGEST]]


def test_scores_of_what_is_right_and_of_what_is_not() -> None:
    right = ["Tom sees a black cat.", "Where are you going?"]
    assert scores(right, right) == pytest.approx({"bleu": 100.0, "chrf": 100.0})
    none = scores(["x", ""], right)
    assert none["bleu"] == pytest.approx(0.0, abs=0.5)
    assert none["chrf"] == pytest.approx(0.0, abs=0.5)


def test_bleu_is_that_of_all_sentences_together() -> None:
    """By hand: 9 of 10 tokens, 7 of 8 pairs, 5 of 6 triples, 3 of 4 quadruples; equal lengths."""
    english = ["a b c d e", "f g h i j"]
    translated = ["a b c d e", "f g h i x"]
    expected = 100 * (9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** 0.25
    assert scores(translated, english)["bleu"] == pytest.approx(expected)
