"""Refuses convolutions in groups to algorithms that mix the outputs of every layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from spaces.parameter import Parameter, Value, values_of
from spaces.space import EVERY_OWNER, UNGROUPED, Space

MIXING = "layerwise"
"""The preconditioner that does, where it is a choice of its own."""


def mixing_problems(
    algorithms: Sequence[str],
    networks: Sequence[str],
    overrides: Mapping[str, Parameter],
    spaces: Mapping[str, Space],
) -> Iterator[str]:
    """Yield a line for each setting that leaves an algorithm nothing, or a user's value unused.

    A value that some algorithms of a search can use and others cannot is drawn for the former.
    """
    always = [name for name in algorithms if spaces[name].ungrouped]
    chosen = [name for name in algorithms if _only_mixes(name, overrides, spaces)]
    every = len(always) == len(algorithms)
    for network in networks:
        for name, grouped in spaces[network].grouped.items():
            own = spaces[network].parameters[name]
            full, override = _override(network, name, overrides)
            values = values_of(override or own)
            found = [value for value in values if value in grouped]
            narrow, narrowed = _override(network, f"{name}{UNGROUPED}", overrides)
            wrong = [v for v in values_of(narrowed) if v in grouped] if narrowed else []
            right = _right(own, grouped)
            # What is left out of a list that nobody wrote needs no word.
            unused = len(found) == len(values) or (every and override is not None)
            if wrong and always:
                yield f"{narrow}: {_cannot_mix(wrong, always)}: {right}"
            elif narrowed is None and always and found and unused:
                yield f"{full}: {_cannot_mix(found, always)}: {right}"
            if chosen and len(found) == len(values):
                alone = f"by preconditioner {MIXING} alone"
                yield f"{full}: {_cannot_mix(found, chosen)} {alone}: {right}"


def _override(
    owner: str, name: str, overrides: Mapping[str, Parameter]
) -> tuple[str, Parameter | None]:
    """Return the key that decides about a parameter, and its override if there is one."""
    for key in (f"{owner}/{name}", f"{EVERY_OWNER}/{name}"):
        if key in overrides:
            return key, overrides[key]
    return f"{owner}/{name}", None


def _only_mixes(
    algorithm: str, overrides: Mapping[str, Parameter], spaces: Mapping[str, Space]
) -> bool:
    _, override = _override(algorithm, "preconditioner", overrides)
    known = "preconditioner" in spaces[algorithm].parameters
    return known and override is not None and set(values_of(override)) == {MIXING}


def _cannot_mix(found: Sequence[Value], algorithms: Sequence[str]) -> str:
    return (
        f"{', '.join(map(str, found))}: has grouped convolutions, whose outputs "
        f"{' and '.join(algorithms)} cannot mix"
    )


def _right(own: Parameter, grouped: frozenset[Value]) -> str:
    right = [str(value) for value in values_of(own) if value not in grouped]
    return f"choose one without, such as {' or '.join(right)}" if right else "leave one of them out"
