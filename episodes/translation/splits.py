"""Sentences kept apart: no English sentence of a held-out split is in a split learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from episodes.episode import Split
from episodes.errors import DataError
from episodes.translation.sentence_files import Languages, Pair

FIRST: tuple[Split, ...] = ("test", "validation", "train")
"""What a sentence that occurs in several splits stays in."""


def sentence_key(english: str) -> str:
    """Return what is equal for sentences that differ in case, spaces and punctuation alone."""
    return "".join(letter for letter in english.casefold() if letter.isalnum()) or english


def disjoint(
    pairs: Mapping[str, Sequence[Pair]], languages: Languages
) -> dict[str, dict[str, list[Pair]]]:
    """Return the pairs of each language by the key of their English sentence.

    What meta-test has is left out of meta-validation, and what either has of meta-train. Keys and
    pairs are in the order of their first lines; a pair that occurs twice is there once.
    """
    found: dict[str, dict[str, list[Pair]]] = {}
    taken: set[str] = set()
    for split in FIRST:
        own: set[str] = set()
        for language in languages[split]:
            by_key: dict[str, list[Pair]] = {}
            for pair in dict.fromkeys(pairs[language]):
                key = sentence_key(pair[1])
                if key not in taken:
                    by_key.setdefault(key, []).append(pair)
            found[language] = by_key
            own |= by_key.keys()
        taken |= own
    return found


def check_enough(counts: Mapping[str, int], languages: Languages, wanted: int) -> None:
    """Raise DataError for a language with fewer English sentences than an episode needs.

    counts: different English sentences by language, after all that is left out.
    wanted: shots + query_shots.
    """
    for split in FIRST:
        for language in languages[split]:
            if counts[language] < wanted:
                raise DataError(
                    f"{language} of {split} has {counts[language]} English sentences that are "
                    "short enough and in no other split; an episode takes shots + query_shots = "
                    f"{wanted} of them: use fewer, leave the language out, or raise options.longest"
                )
