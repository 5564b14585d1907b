"""What a package of your own offers: an algorithm or a network together with its space.

docs/extend/README.md shows both, and how metasweep finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spaces.space import Space

if TYPE_CHECKING:
    import algorithms
    import networks


@dataclass(frozen=True)
class AlgorithmExtension:
    """An algorithm that metasweep does not have.

    entry: how it is made.
    space: what of it may vary, the outer loop's part (`spaces.outer.OUTER_ADAM`) included. Its
        defaults name the kinds of problem that it is for.
    """

    entry: algorithms.Entry
    space: Space


@dataclass(frozen=True)
class NetworkExtension:
    """A network family that metasweep does not have.

    entry: how it is made, of its settings as keywords.
    space: what of its settings may vary.
    images: whether it needs inputs of shape (channels, height, width).
    """

    entry: networks.Entry
    space: Space
    images: bool = False
