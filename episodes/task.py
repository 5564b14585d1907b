"""What is known of a task before anything of it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from episodes.kinds import KINDS, Kind
from episodes.options import Option, complete

if TYPE_CHECKING:
    from episodes.archives import Archive
    from episodes.episode import TaskDistribution


@dataclass(frozen=True)
class Task:
    """One task distribution that `load` knows by name.

    kind: the kind of problem; where there is an option `kind`, that decides, and this its default.
    load: called with the checked keyword arguments of `episodes.load`, task left out; `options` is
        among them where the task declares some, as a complete mapping.
    splits: names of its class splits, the default first; empty where there is only one.
    archives: returns the files it reads; None for a task that is generated.
    images: whether an example has the shape (channels, height, width).
    options: what else may be chosen. What changes the data must change `TaskDistribution.digest`:
        that, and not the options, tells problems apart, so that a file may move.
    """

    name: str
    description: str
    kind: Kind
    load: Callable[..., TaskDistribution]
    splits: tuple[str, ...] = ()
    archives: Callable[[], Sequence[Archive]] | None = None
    images: bool = False
    options: tuple[Option, ...] = ()

    @property
    def needs_data(self) -> bool:
        """Whether it reads files, which are downloaded unless a data folder is named."""
        return self.archives is not None

    def complete(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return options checked and with defaults, as JSON values; see `options.complete`."""
        return complete(self.name, self.options, options or {})

    def kind_of(self, options: Mapping[str, Any]) -> Kind:
        """Return the kind of problem that options, complete or as given, make of it."""
        chosen = [options.get(option.name) for option in self.options if option.name == "kind"]
        return chosen[0] if chosen and chosen[0] in KINDS else self.kind
