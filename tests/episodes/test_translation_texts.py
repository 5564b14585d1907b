"""Translation: subwords, the files of sentences, and splits that share none."""

from __future__ import annotations

from pathlib import Path

import pytest

from episodes.translation.sentence_files import read_pairs
from episodes.translation.splits import disjoint, sentence_key
from episodes.translation.subwords import (
    BEGIN,
    END,
    PADDING,
    encoded,
    learn,
    subwords_of,
    tokenizer_of,
)

TEXTS = [f"the {noun} {verb} a {noun}" for noun in ("cat", "dog") for verb in ("sees", "likes")]
LANGUAGES = {"train": ["aaa", "bbb"], "validation": ["ccc"], "test": ["ddd"]}


def learned(size: int = 300) -> str:
    return learn(TEXTS, size).to_str()


@pytest.mark.parametrize(
    "text",
    [
        "the cat likes",
        "",
        "თბილისი",
        "生まれ",
        "🐈‍⬛ and 👩🏽‍🚀",
        "two  blanks",
        "<end> of <padding>",
        "e\u0301 \x7f \u00a0",
    ],
)
def test_every_text_has_symbols_and_comes_back(text: str) -> None:
    description = learned()
    [symbols] = encoded(tokenizer_of(description), [text])
    assert symbols[-1] == END
    assert not {PADDING, BEGIN, END} & set(symbols[:-1])
    assert subwords_of(description).text([*symbols, PADDING, PADDING]) == text.strip()


def test_frequent_words_become_one_symbol_and_unseen_letters_bytes() -> None:
    tokenizer = tokenizer_of(learned())
    [cat, unseen] = encoded(tokenizer, ["the cat", "ქ"])
    assert len(cat) == 3
    # Three bytes, the blank in front, and the end.
    assert len(unseen) == 5


def test_the_same_texts_give_the_same_symbols() -> None:
    assert learned() == learned()
    pieces = subwords_of(learned(270)).pieces
    assert len(pieces) == 270
    assert {bytes([byte]) for byte in range(256)} <= set(pieces)
    assert len(set(pieces[3:])) == 267


def test_pairs_are_read_whatever_the_ends_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("\ufeffYes.\tTak.\r\n\nNo.\tNie.\tCC-BY\n".encode())
    assert read_pairs(path) == [("Tak.", "Yes."), ("Nie.", "No.")]


def test_sentences_are_told_apart_by_their_letters() -> None:
    assert sentence_key("It's  TOM!") == sentence_key("its tom")
    assert sentence_key("Tom") != sentence_key("Tim")
    assert sentence_key("?!") == "?!"


def test_no_english_sentence_is_in_two_splits() -> None:
    pairs = {
        "aaa": [("a1", "One."), ("a2", "Two."), ("a3", "Three."), ("a1b", "one"), ("a1", "One.")],
        "bbb": [("b4", "Four.")],
        "ccc": [("c2", "TWO!"), ("c5", "Five.")],
        "ddd": [("d3", "three"), ("d5", "Five."), ("d6", "Six.")],
    }
    assert disjoint(pairs, LANGUAGES) == {
        "aaa": {"one": [("a1", "One."), ("a1b", "one")]},
        "bbb": {"four": [("b4", "Four.")]},
        "ccc": {"two": [("c2", "TWO!")]},
        "ddd": {"three": [("d3", "three")], "five": [("d5", "Five.")], "six": [("d6", "Six.")]},
    }
