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


class Settling(Table):
    """Surer of each next symbol, so that a long hypothesis may come to overtake a short one."""

    def logits(self, source: list[int], before: list[int]) -> Tensor:
        found = super().logits(source, before).clone()
        found[END] -= 0.6
        return found * len(before) ** 2


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


@pytest.mark.parametrize("beam", [1, 2, 3, 5])
def test_sentences_do_not_depend_on_each_other(beam: int) -> None:
    longest, table = 12, Settling(1.0)
    given = sources(3, 4)
    together = decode(table, given, longest, beam)
    lengths = set()
    for episode, example in product(range(3), range(4)):
        one = given[episode : episode + 1, example : example + 1]
        alone = decode(table, one, longest, beam)
        assert torch.equal(alone[0, 0], together[episode, example])
        lengths.add(len(stripped(alone[0, 0])))
    # Some have ended long before others do.
    assert min(lengths) < 4
    assert max(lengths) > 6


SHORT, LONG = 3, 4
"""The first symbols of two sources: one whose first hypothesis ends at once, one that goes on."""


def overtaking(inputs: Tensor) -> Tensor:
    """A source whose best hypothesis ends first: 4 4 4 4 and an end would come out better later."""
    chances = torch.full((*inputs.shape[:2], 8, SYMBOLS), 1e-9)
    before = inputs[..., WIDTH:]
    for episode, row in product(*map(range, inputs.shape[:2])):
        for place in range(8):
            begun = before[episode, row, place] == BEGIN
            if inputs[episode, row, 0] == LONG:
                chances[episode, row, place, END if place == 6 else 5] = 1.0
            elif begun:
                chances[episode, row, place, [END, 4]] = torch.tensor([0.4, 0.35])
            else:
                chances[episode, row, place, END if place == 4 else 4] = 1.0
    return chances.log()


@pytest.mark.parametrize("beam", [1, 2, 3, 5])
def test_what_has_ended_as_the_best_is_not_overtaken_while_others_go_on(beam: int) -> None:
    ends, overtakes = math.log(0.4 / 0.75), math.log(0.35 / 0.75) / (10 / 6) ** LENGTH_POWER
    assert overtakes > ends  # It would, were it waited for.
    short, long = [[SHORT] * WIDTH], [[LONG] * WIDTH]
    alone = decode(overtaking, torch.tensor([short]), 8, beam)
    assert stripped(alone[0, 0]) == [END]
    beside = decode(overtaking, torch.tensor([short + long]), 8, beam)
    assert stripped(beside[0, 0]) == [END]
    assert stripped(beside[0, 1]) == [5] * 6 + [END]
    batched = decode(overtaking, torch.tensor([long, short]), 8, beam)
    assert torch.equal(batched[:, 0], beside[0, [1, 0]])


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
