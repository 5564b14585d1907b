"""What an extension must hold, before anything of it runs."""

from __future__ import annotations

from collections.abc import Iterable

from episodes import Option, Task
from episodes.kinds import KINDS
from spaces.extension import AlgorithmExtension, NetworkExtension
from spaces.outer import OUTER_ADAM
from spaces.parameter import Choice, Fixed, Float, Int
from spaces.space import Space, bare


def algorithm_problem(extension: AlgorithmExtension) -> str | None:
    """Return what is wrong with an algorithm, if anything."""
    from algorithms import Entry

    if not isinstance(extension.entry, Entry):
        return f"entry: {extension.entry!r}: must be an algorithms.Entry"
    return _space_problem(extension.space, OUTER_ADAM)


def network_problem(extension: NetworkExtension) -> str | None:
    """Return what is wrong with a network, if anything."""
    from networks import Entry

    if not isinstance(extension.entry, Entry):
        return f"entry: {extension.entry!r}: must be a networks.Entry"
    return _space_problem(extension.space, ())


def task_problem(task: Task) -> str | None:
    """Return what is wrong with a task's record, if anything."""
    if task.kind not in KINDS:
        return f"kind: {task.kind!r}: must be one of {', '.join(KINDS)}"
    if not callable(task.load):
        return f"load: {task.load!r}: must be a function that returns a TaskDistribution"
    for option in task.options:
        if not isinstance(option, Option) or not option.name.isidentifier():
            return f"options: {option!r}: must be an episodes.Option, its name as in Python"
    return None


def _space_problem(space: Space, needed: Iterable[str]) -> str | None:
    if not isinstance(space, Space):
        return f"space: {space!r}: must be a spaces.space.Space"
    for name, parameter in space.parameters.items():
        if not isinstance(parameter, Float | Int | Choice | Fixed):
            return f"space.parameters: {name}: {parameter!r}: must be a Float, Int, Choice or Fixed"
        if "/" in name:
            return f"space.parameters: {name}: must hold no '/'"
    for name in space.grouped:
        if not isinstance(space.parameters.get(name), Choice | Fixed):
            return f"space.grouped: {name}: must be a Choice or Fixed of space.parameters"
    lacking = [name for name in needed if name not in space.parameters]
    if lacking:
        return (
            f"space.parameters: {', '.join(lacking)}: missing, which every algorithm has: "
            "add **spaces.outer.OUTER_ADAM"
        )
    if not space.defaults or not set(space.defaults) <= set(KINDS):
        kinds = ", ".join(map(repr, space.defaults))
        return f"space.defaults: [{kinds}]: must be for one or both of {', '.join(KINDS)}"
    for kind, defaults in space.defaults.items():
        lacking = [name for name in map(bare, space.parameters) if name not in defaults]
        if lacking:
            return f"space.defaults[{kind!r}]: {', '.join(dict.fromkeys(lacking))}: missing"
    return None
