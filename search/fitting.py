"""Checks, before any compute is spent, that every algorithm of a search fits every network."""

from __future__ import annotations

from collections.abc import Iterator

import algorithms
import networks
from episodes.episode import TaskDistribution
from search.building import objective_of
from search.config import Config, Problem
from search.errors import UserError
from search.extensions import is_extension, learner_is_own
from search.memory import is_out_of_memory
from search.spec import Spec
from search.try_out import try_out
from search.user_code import blame
from spaces.search_space import SearchSpace
from spaces.space import EVERY_OWNER


def check_fits(spec: Spec, problem: Problem, distribution: TaskDistribution) -> None:
    """Build each algorithm on each network, at the defaults moved into the search's ranges.

    Networks are built with each word too that the specification itself allows for a setting.
    Raises UserError, a line for each pair or word that cannot be built.
    """
    space = spec.search_space()
    found: list[str] = []
    for network in spec.networks:
        before = len(found)
        for algorithm in spec.algorithms:
            learner = space.nearest_learner(algorithm, network)
            config = Config(
                problem, algorithm, network, learner.hyper, learner.settings, spec.budget.episodes
            )
            try:
                check_builds(config, distribution)
            except UserError as error:
                found.append(f"{algorithm} on {network}: {error}")
        if len(found) == before and not is_extension("network", network):
            found += _wrong_words(spec, space, network, distribution)
    if found:
        raise UserError("\n".join(found))


def _wrong_words(
    spec: Spec, space: SearchSpace, network: str, distribution: TaskDistribution
) -> Iterator[str]:
    """Yield a line for each word that a user allows for a setting and the network cannot be."""
    settings = space.nearest_learner(spec.algorithms[0], network).settings
    for name, usual in settings.items():
        # A full name wins over a star.
        words = spec.space.get(f"{network}/{name}", spec.space.get(f"{EVERY_OWNER}/{name}", []))
        for word in words if isinstance(words, list) else [words]:
            if isinstance(word, str) and word != usual:
                changed = {**settings, name: word}
                try:
                    networks.build(network, distribution.input_shape, distribution.outputs, changed)
                except networks.NetworkError as error:
                    yield f"{network}: {error}"


def check_builds(config: Config, distribution: TaskDistribution) -> None:
    """Build a configuration's algorithm on its network, and try what of them is a user's own.

    Raises UserError where that fails.
    """
    own = learner_is_own(config.algorithm, config.network)
    try:
        network = networks.build(
            config.network, distribution.input_shape, distribution.outputs, config.settings
        )
        objective = objective_of(config, distribution)
        algorithms.make(config.algorithm, network, objective, config.hyper)
    except (algorithms.RecipeError, networks.NetworkError) as error:
        raise UserError(str(error)) from None
    except Exception as error:
        if is_out_of_memory(error):
            raise UserError("its network does not fit into the memory that is left") from None
        if not own:
            raise
        raise UserError(f"building it failed: {blame(error)}") from None
    if own:
        try_out(config, network, distribution)
