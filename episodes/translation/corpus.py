"""Sentence pairs as symbols: prepared once, kept in the cache folder, mapped into memory."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from episodes.digest import json_digest
from episodes.episode import SPLITS
from episodes.file_digests import files_digest
from episodes.prepared import prepared
from episodes.translation.sentence_files import Languages, Pair, content_digest, read_pairs
from episodes.translation.splits import disjoint
from episodes.translation.subwords import PADDING, encoded, learn, subwords_of

# To be raised when the same files would be read to other symbols.
_READING = 1


@dataclass(frozen=True)
class Corpus:
    """The pairs of all languages, by English sentence.

    symbols: (P, 2 x longest) uint16: the other language's sentence, then English, each with its
        end, then padding. The translations of an English sentence follow each other.
    starts: (G + 1,) int64, the row of the first pair of each English sentence, then P.
    first, counts: the first English sentence of each language, and how many it has.
    tokenizer: its JSON (`episodes.translation.subwords`).
    digest: of all sentences and of how they became symbols.
    """

    symbols: np.ndarray
    starts: np.ndarray
    first: Mapping[str, int]
    counts: Mapping[str, int]
    tokenizer: str
    digest: str


def open_corpus(
    files: Mapping[str, Path], languages: Languages, vocabulary: int, longest: int
) -> Corpus:
    """Return the corpus of these files, from the cache folder where it is there already.

    files: by language. vocabulary, longest: see `episodes.translation.options`.
    Raises DataError, naming file and line, for a file that does not hold sentence pairs.
    """
    settings: dict[str, Any] = {
        "languages": {split: sorted(languages[split]) for split in SPLITS},
        "vocabulary": vocabulary,
        "longest": longest,
    }
    names = sorted(files)
    read = files_digest([files[name] for name in names])
    key = f"translation-{json_digest([_READING, names, read, settings])}"

    @functools.cache
    def built() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _build(files, languages, settings)

    # The description comes last: where it is, the others are.
    symbols = prepared(f"{key}-symbols", lambda: built()[0])
    starts = prepared(f"{key}-starts", lambda: built()[1])
    about = json.loads(prepared(f"{key}-about", lambda: built()[2]).tobytes())
    return Corpus(
        symbols, starts, about["first"], about["counts"], about["tokenizer"], about["digest"]
    )


def _build(
    files: Mapping[str, Path], languages: Languages, settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs = {language: read_pairs(files[language]) for language in sorted(files)}
    by_sentence = disjoint(pairs, languages)
    tokenizer = learn(_texts(by_sentence, sorted(languages["train"])), settings["vocabulary"])
    rows: list[np.ndarray] = []
    starts: list[int] = []
    first: dict[str, int] = {}
    counts: dict[str, int] = {}
    for language, sentences in sorted(by_sentence.items()):
        first[language] = len(starts)
        flat = [pair for same in sentences.values() for pair in same]
        places = [place for place, same in enumerate(sentences.values()) for _ in same]
        sides = (list(encoded(tokenizer, [pair[side] for pair in flat])) for side in (0, 1))
        before = -1
        for place, *both in zip(places, *sides, strict=True):
            if max(map(len, both)) > settings["longest"]:
                continue
            if place != before:
                starts.append(len(rows))
                before = place
            rows.append(_row(both, settings["longest"]))
        counts[language] = len(starts) - first[language]
    symbols = np.stack(rows) if rows else np.empty((0, 2 * settings["longest"]), np.uint16)
    description = tokenizer.to_str()
    pieces = subwords_of(description).pieces
    about = {
        "first": first,
        "counts": counts,
        "tokenizer": description,
        "digest": json_digest(
            [content_digest(pairs), settings, hashlib.sha256(b"\n".join(pieces)).hexdigest()]
        ),
    }
    text = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    return symbols, np.array([*starts, len(rows)], dtype=np.int64), text


def _texts(
    by_sentence: Mapping[str, Mapping[str, Sequence[Pair]]], train: Sequence[str]
) -> list[str]:
    """Return what subwords are learned from: all different sentences of meta-train."""
    pairs = [pair for language in train for same in by_sentence[language].values() for pair in same]
    return list(dict.fromkeys(text for pair in pairs for text in pair))


def _row(both: Sequence[Sequence[int]], longest: int) -> np.ndarray:
    row = np.full(2 * longest, PADDING, dtype=np.uint16)
    for side, symbols in enumerate(both):
        row[side * longest : side * longest + len(symbols)] = symbols
    return row
