"""Batches of episodes one after the other, where a script would have a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from episodes.errors import DataError
from episodes.whole_numbers import whole_number

if TYPE_CHECKING:
    from episodes.episode import Episodes, Split, TaskDistribution


@dataclass(frozen=True)
class EpisodeLoader:
    """An iterable of batches: the episodes `start`, `start + 1`, ... up to `stop`, left out.

    split, seed: which stream of episodes; another seed is another one.
    batch_size: episodes of a batch, T in the shapes of `Episodes`; the last may have fewer.
    stop: None to go on for ever; such a loader has no `len()`.

    An episode depends on (split, seed, index) alone. So every pass gives the same batches, whatever
    was drawn before; a script that was interrupted goes on with the `start` that it had reached.
    Raises DataError, naming the argument, for one that makes no sense.
    """

    distribution: TaskDistribution
    split: Split
    seed: int
    batch_size: int
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        from episodes.episode import SPLITS

        if self.split not in SPLITS:
            raise DataError(f"split: {self.split!r}: must be one of {', '.join(SPLITS)}")
        whole_number("seed", self.seed)
        whole_number("batch_size", self.batch_size, 1)
        whole_number("start", self.start, 0)
        if self.stop is not None:
            whole_number("stop", self.stop, self.start)

    def __iter__(self) -> Iterator[Episodes]:
        """Yield the batches, each drawn when it is asked for."""
        size = self.batch_size
        firsts = (
            count(self.start, size) if self.stop is None else range(self.start, self.stop, size)
        )
        for first in firsts:
            last = first + size if self.stop is None else min(first + size, self.stop)
            yield self.distribution.sample(self.split, self.seed, range(first, last))

    def __len__(self) -> int:
        """Return the number of batches. Raises TypeError where they go on for ever."""
        if self.stop is None:
            raise TypeError(
                "a loader without stop goes on for ever; give it a stop to have a len()"
            )
        return -(-(self.stop - self.start) // self.batch_size)
