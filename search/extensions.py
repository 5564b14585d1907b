"""Algorithms, networks and tasks of a user's own: found by name, checked, and registered.

A name is that of an entry point in the groups below, or `module:attribute`. What it stands for is
imported when a process first meets it, so that workers find it by the configuration alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from episodes import TASKS, Task
from search import user_code
from search.config import Config
from search.errors import UserError
from search.extension_checks import algorithm_problem, network_problem, task_problem
from spaces.algorithms import ALGORITHM_SPACES
from spaces.errors import nearest
from spaces.extension import AlgorithmExtension, NetworkExtension
from spaces.networks import IMAGE_NETWORKS, NETWORK_SPACES

What = Literal["algorithm", "network", "task"]
RENAME = "give the entry point another name, or uninstall its package"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RESERVED = frozenset(field.name for field in fields(Config))
"""Names that keys of a configuration have in the parameters of a run."""


def _add_algorithm(name: str, extension: AlgorithmExtension) -> None:
    from algorithms import ALGORITHMS

    ALGORITHMS[name] = extension.entry
    ALGORITHM_SPACES[name] = extension.space


def _add_network(name: str, extension: NetworkExtension) -> None:
    from networks import NETWORKS

    NETWORKS[name] = extension.entry
    NETWORK_SPACES[name] = extension.space
    if extension.images:
        IMAGE_NETWORKS.add(name)


def _add_task(name: str, task: Task) -> None:
    TASKS[name] = replace(task, name=name)


@dataclass(frozen=True)
class _Sort:
    """One sort of extension: its entry points, and where what they offer is registered."""

    group: str
    type: type
    known: MutableMapping[str, Any]
    problem: Callable[[Any], str | None]
    add: Callable[[str, Any], None]


SORTS: dict[What, _Sort] = {
    "algorithm": _Sort(
        "metasweep.algorithms",
        AlgorithmExtension,
        ALGORITHM_SPACES,
        algorithm_problem,
        _add_algorithm,
    ),
    "network": _Sort(
        "metasweep.networks", NetworkExtension, NETWORK_SPACES, network_problem, _add_network
    ),
    "task": _Sort("metasweep.tasks", Task, TASKS, task_problem, _add_task),
}
OTHER_OWNERS: dict[What, What] = {"algorithm": "network", "network": "algorithm"}
_added: set[tuple[What, str]] = set()


def resolve(what: What, name: str) -> None:
    """Make a name known in this process, where it is not known yet.

    Raises UserError, whose message follows on the field and the name, where there is no such thing,
    the user's code fails or offers something else, or a name is taken.
    """
    sort = SORTS[what]
    if is_extension(what, name):
        return
    offers = [offer for offer in _offers(sort.group) if offer.name == name]
    if name in sort.known:
        if offers:
            raise UserError(f"is metasweep's own {what}, and also {_origins(offers)}: {RENAME}")
        return
    if ":" in name:
        user_code.import_from_current_folder(name)
        _offers.cache_clear()
        _add(what, name, user_code.attribute(name, sort.type))
        return
    if not offers:
        dotted = " (one of your own is named module:attribute)" if "." in name else ""
        known = {*sort.known, *(offer.name for offer in _offers(sort.group))}
        raise UserError(f"unknown {what}: {nearest(name, known)}{dotted}")
    _check_name(what, name, offers)
    try:
        found = user_code.attribute(f"{offers[0].module}:{offers[0].attr}", sort.type)
        _add(what, name, found)
    except UserError as error:
        raise UserError(f"{_origin(offers[0])}: {error}") from None


def resolve_field(field: str, what: What, name: str) -> None:
    """Resolve a name; an error also says which field named it."""
    try:
        resolve(what, name)
    except UserError as error:
        raise UserError(f"{field}: {name!r}: {error}") from None


def is_extension(what: What, name: str) -> bool:
    """Whether a name stands for what a user's code offered to this process."""
    return (what, name) in _added


def learner_is_own(algorithm: str, network: str) -> bool:
    """Whether the algorithm or the network is what a user's code offered to this process."""
    return is_extension("algorithm", algorithm) or is_extension("network", network)


def broken(what: What) -> dict[str, str]:
    """Resolve all entry points; return what is wrong with those that cannot be, by name."""
    problems = {}
    for name in sorted({offer.name for offer in _offers(SORTS[what].group)}):
        try:
            resolve(what, name)
        except UserError as error:
            problems[name] = str(error)
    return problems


def _add(what: What, name: str, found: Any) -> None:
    sort = SORTS[what]
    problem = sort.problem(found)
    if problem is not None:
        raise UserError(problem)
    sort.add(name, found)
    _added.add((what, name))


def _check_name(what: What, name: str, offers: list[EntryPoint]) -> None:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{_origin(offers[0])}: its name must be letters, digits, '.', '_' and '-', "
            "a letter or digit first"
        )
    # Parameters carry their owner's name, so algorithms, networks and our own keys share names.
    other = OTHER_OWNERS.get(what)
    if other is not None and name in SORTS[other].known:
        whose = "another package's" if (other, name) in _added else "metasweep's own"
        raise UserError(f"is {whose} {other}, and also {_origins(offers)}: {RENAME}")
    if other is not None and name in RESERVED:
        raise UserError(f"is a key of configurations, and also {_origins(offers)}: {RENAME}")
    if len(offers) > 1:
        raise UserError(f"is {_origins(offers)}: {RENAME}")


def _origins(offers: list[EntryPoint]) -> str:
    return " and ".join(_origin(offer) for offer in offers)


def _origin(offer: EntryPoint) -> str:
    package = offer.dist.name if offer.dist is not None else "a package"
    return f"the entry point {offer.name} = {offer.value} of {package}"


@functools.cache
def _offers(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))
