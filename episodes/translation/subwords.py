"""Subword symbols: byte-pair encoding over bytes, so that every text has a form and comes back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from episodes.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING, BEGIN, END = 0, 1, 2
SIGNS = ("<padding>", "<begin>", "<end>")
BATCH = 10_000


@dataclass(frozen=True)
class Subwords:
    """What each symbol stands for: bytes of UTF-8, nothing for the three signs.

    Decoding needs no library.
    """

    pieces: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.pieces)

    def text(self, symbols: Iterable[int]) -> str:
        """Return the text of symbols up to their end; bytes that are no UTF-8 show as U+FFFD."""
        parts = []
        for symbol in symbols:
            if symbol == END:
                break
            parts.append(self.pieces[symbol])
        # A blank in front marks the beginning of every word, the first one too.
        return b"".join(parts).decode("utf-8", errors="replace").removeprefix(" ")


def learn(texts: Iterable[str], size: int) -> Tokenizer:
    """Learn byte-pair encoding of `size` symbols, the signs and all 256 bytes among them.

    Sennrich et al. 2016, arXiv:1508.07909, over bytes as of Radford et al. 2019, "Language models
    are unsupervised multitask learners", section 2.2: a script that `texts` lacks falls back to its
    bytes. The same texts in the same order give the same symbols.
    """
    tokenizers = _library()
    tokenizer: Tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SIGNS),
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _plain(tokenizer)


def subwords_of(description: str) -> Subwords:
    """Return what the symbols of a tokenizer stand for, from its JSON; needs no library."""
    vocabulary = json.loads(description)["model"]["vocab"]
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    to_byte = {letter: byte for byte, letter in enumerate(_letters())}
    texts = (bytes(to_byte[letter] for letter in name) for name in names[len(SIGNS) :])
    return Subwords((*[b""] * len(SIGNS), *texts))


def tokenizer_of(description: str) -> Tokenizer:
    """Return the tokenizer that its JSON, `to_str`, describes."""
    return _plain(_library().Tokenizer.from_str(description))


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[int]]:
    """Yield the symbols of each text, its end last."""
    for first in range(0, len(texts), BATCH):
        # A blank of a text's own in front would otherwise stand for the added one.
        batch = [text.strip() for text in texts[first : first + BATCH]]
        for found in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield [*found.ids, END]


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    """Let a tokenizer take a sentence that spells a sign for text like any other."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def _letters() -> list[str]:
    """Return the printable letter that the library writes for each byte.

    Printable Latin-1 letters stand for themselves, the others for U+0100 and what follows.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters, others = [], 0
    for byte in range(256):
        if byte in plain:
            letters.append(chr(byte))
        else:
            letters.append(chr(0x100 + others))
            others += 1
    return letters


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise DataError(
            "sentences cannot be cut into subwords: install the package tokenizers"
        ) from error
    return tokenizers
