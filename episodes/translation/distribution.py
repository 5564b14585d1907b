"""The translation tasks: an episode is a language, and few of its sentences with their English."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from episodes.counter_rng import choose, uniforms
from episodes.digest import json_digest
from episodes.episode import (
    IGNORED,
    SPLITS,
    Episodes,
    Examples,
    Kind,
    Split,
    episode_key,
    index_array,
)
from episodes.errors import DataError
from episodes.translation.corpus import Corpus, open_corpus
from episodes.translation.decoding import decode
from episodes.translation.scores import scores
from episodes.translation.sentence_files import Languages, files_in, tatoeba_files
from episodes.translation.splits import check_enough
from episodes.translation.subwords import BEGIN, PADDING, subwords_of

LIBRARIES = ("tokenizers", "sacrebleu")


class Translation:
    """Episodes of translation into English.

    A language of the split is drawn, then shots + query_shots different English sentences of it,
    then one of the translations of each; all languages are as likely, and so are their sentences.
    So support and query share no English sentence.

    inputs: (T, N, 2 x longest) int64: the sentence to translate, its end and padding; then the
        begin sign and the English sentence, without its end: what each next symbol follows on
        ("teacher forcing").
    targets: (T, N, longest) int64: the English sentence with its end, IGNORED behind.
    classes: (T, 1) int64, the place of the language in the split's sorted languages.
    """

    kind: Kind = "translation"
    measures = ("bleu", "chrf")
    train_classes: int | None = None

    def __init__(
        self,
        name: str,
        corpus: Corpus,
        languages: Languages,
        shots: int,
        query_shots: int,
        beam: int = 1,
    ) -> None:
        """Raise DataError for a language that has too few sentences.

        beam: hypotheses of the beam search that `measure` translates by; 1 decodes greedily. Any
            other makes another digest, as BLEU is not comparable across beams.
        """
        check_enough(corpus.counts, languages, shots + query_shots)
        self.name = name
        self.longest = corpus.symbols.shape[1] // 2
        self.input_shape: tuple[int, ...] = (2 * self.longest,)
        self.subwords = subwords_of(corpus.tokenizer)
        self.outputs = len(self.subwords)
        self.digest = corpus.digest if beam == 1 else json_digest([corpus.digest, {"beam": beam}])
        self.shots = shots
        self.query_shots = query_shots
        self.beam = beam
        self._corpus = corpus
        self._languages = {split: tuple(sorted(languages[split])) for split in SPLITS}

    def class_names(self, split: Split) -> tuple[str, ...]:
        """Return the languages of a split: class id k is the k-th of them."""
        return self._languages[split]

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        index = index_array(indices)
        key = episode_key(self.name, split, seed)
        corpus, names = self._corpus, self._languages[split]
        count = self.shots + self.query_shots
        draws = uniforms(key, index, 1 + 2 * count)
        language = choose(draws[:, :1], len(names))
        counts = np.array([corpus.counts[name] for name in names])[language[:, 0]]
        first = np.array([corpus.first[name] for name in names])[language]
        sentences = first + choose(draws[:, 1 : 1 + count], counts)
        start, end = corpus.starts[sentences], corpus.starts[sentences + 1]
        rows = start + (draws[:, 1 + count :] * (end - start)).astype(np.int64)
        symbols = torch.from_numpy(corpus.symbols[rows].astype(np.int64))
        return Episodes(
            support=_examples(symbols[:, : self.shots]),
            query=_examples(symbols[:, self.shots :]),
            classes=torch.from_numpy(language),
            index=torch.from_numpy(index),
        )

    def sentences(self, examples: Examples) -> list[list[tuple[str, str]]]:
        """Return, for each episode, its examples as text: the sentence, and its English."""
        sources = self._texts(examples.inputs[..., : self.longest])
        english = self._texts(examples.targets.where(examples.targets != IGNORED, PADDING))
        return [list(zip(*both, strict=True)) for both in zip(sources, english, strict=True)]

    def translate(self, predict: Callable[[Tensor], Tensor], inputs: Tensor) -> list[list[str]]:
        """Return the English that T networks make of the sentences in inputs (T, N, 2 x longest).

        The English half of `inputs` is not looked at.
        """
        sources = inputs[..., : self.longest]
        return self._texts(decode(predict, sources, self.longest, self.beam))

    def measure(self, predict: Callable[[Tensor], Tensor], query: Examples) -> dict[str, Tensor]:
        """Return the BLEU and chrF, 0 to 100, of the translations of T query sets: (T,) each."""
        translated = self.translate(predict, query.inputs)
        english = [[pair[1] for pair in episode] for episode in self.sentences(query)]
        found = [scores(*both) for both in zip(translated, english, strict=True)]
        return {name: torch.tensor([each[name] for each in found]) for name in self.measures}

    def _texts(self, symbols: Tensor) -> list[list[str]]:
        text = self.subwords.text
        return [[text(row) for row in episode] for episode in symbols.tolist()]


def _examples(symbols: Tensor) -> Examples:
    """Return symbols (T, N, 2 x longest), both sentences with their ends, as examples."""
    source, english = symbols.chunk(2, dim=-1)
    begin = torch.full_like(english[..., :1], BEGIN)
    shifted = torch.cat([begin, english[..., :-1]], -1)
    asked = english != PADDING
    inputs = torch.cat([source, shifted.where(asked, PADDING)], -1)
    return Examples(inputs, english.where(asked, IGNORED))


def load_translation(
    *, shots: int, query_shots: int, options: Mapping[str, Any], **_: object
) -> Translation:
    """Open the sentence pairs of a user's own folder; options: `episodes.translation.options`.

    Raises DataError, naming the option, or the file and its line, for whatever is wrong.
    """
    languages = _languages(options)
    files = files_in(options["folder"], languages)
    return _load("translation", files, languages, shots, query_shots, options)


def load_tatoeba(
    *,
    shots: int,
    query_shots: int,
    options: Mapping[str, Any],
    data: str | Path | None = None,
    **_: object,
) -> Translation:
    """Open the sentence pairs of Tatoeba; as `load_translation`, but from the data folder."""
    languages = _languages(options)
    files = tatoeba_files(languages, data)
    return _load("translation-tatoeba", files, languages, shots, query_shots, options)


def _languages(options: Mapping[str, Any]) -> Languages:
    return {split: options[f"{split}_languages"] for split in SPLITS}


def _load(
    name: str,
    files: Mapping[str, Path],
    languages: Languages,
    shots: int,
    query_shots: int,
    options: Mapping[str, Any],
) -> Translation:
    for library in LIBRARIES:
        if find_spec(library) is None:
            raise DataError(f"{name} needs the package {library}: pip install {library}")
    corpus = open_corpus(files, languages, options["vocabulary"], options["longest"])
    return Translation(name, corpus, languages, shots, query_shots, options["beam"])
