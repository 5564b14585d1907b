"""The space of a whole search: which algorithm, which network, and what belongs to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from spaces.algorithms import ALGORITHM_SPACES
from spaces.errors import SpaceError, nearest
from spaces.networks import NETWORK_SPACES
from spaces.parameter import Fixed, Parameter, Trial, Value
from spaces.space import Kind, Space, checked

SPACES: dict[str, Space] = ALGORITHM_SPACES | NETWORK_SPACES
EVERY_OWNER = "*"


@dataclass(frozen=True)
class Learner:
    """One point of a search space: an algorithm and a network, with their values by bare name."""

    algorithm: str
    hyper: dict[str, Value]
    network: str
    settings: dict[str, Value]


@dataclass(frozen=True)
class SearchSpace:
    """A choice of algorithm and of network, with conditional parameters below each.

    overrides: parameters by full name (`maml/inner_lr`), or `*/inner_lr` for every owner that has
        it; the full name wins.
    Raises SpaceError, one line a problem, for unknown names and illegal values.
    """

    algorithms: Sequence[str]
    networks: Sequence[str]
    kind: Kind
    overrides: Mapping[str, Parameter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for chosen, known in (
            (self.algorithms, ALGORITHM_SPACES),
            (self.networks, NETWORK_SPACES),
        ):
            for name in chosen:
                if name not in known:
                    raise SpaceError(f"{name}: unknown: {nearest(name, known)}")
        problems = [problem for key in self.overrides if (problem := self._problem(key))]
        if problems:
            raise SpaceError("\n".join(problems))

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter that this search can meet, by full name, overrides applied."""
        return {
            f"{owner}/{name}": self._parameter(owner, name)
            for owner in (*self.algorithms, *self.networks)
            for name in SPACES[owner].parameters
        }

    def suggest(self, trial: Trial) -> Learner:
        """Let the trial choose a learner. Parameters of what was not chosen are not suggested."""
        algorithm = _choose(trial, "algorithm", self.algorithms)
        network = _choose(trial, "network", self.networks)
        return Learner(
            algorithm, self._suggest(trial, algorithm), network, self._suggest(trial, network)
        )

    def defaults(self, algorithm: str, network: str) -> dict[str, Value]:
        """Return the published defaults of a pair as parameters for `study.enqueue_trial`.

        A default that an override excludes is replaced by the nearest value that it allows.
        """
        chosen: dict[str, Value] = {}
        if len(self.algorithms) > 1:
            chosen["algorithm"] = algorithm
        if len(self.networks) > 1:
            chosen["network"] = network
        for owner in (algorithm, network):
            for name, published in SPACES[owner].defaults[self.kind].items():
                parameter = self.parameters[f"{owner}/{name}"]
                if not isinstance(parameter, Fixed):
                    chosen[f"{owner}/{name}"] = parameter.closest(published)
        return chosen

    def adjusted_defaults(self) -> dict[str, tuple[Value, Value]]:
        """Return (published, used) for each default that an override excludes."""
        adjusted: dict[str, tuple[Value, Value]] = {}
        for owner in (*self.algorithms, *self.networks):
            for name, published in SPACES[owner].defaults[self.kind].items():
                parameter = self.parameters[f"{owner}/{name}"]
                if not parameter.contains(published):
                    adjusted[f"{owner}/{name}"] = (published, parameter.closest(published))
        return adjusted

    def _suggest(self, trial: Trial, owner: str) -> dict[str, Value]:
        return {
            name: self.parameters[f"{owner}/{name}"].suggest(trial, f"{owner}/{name}")
            for name in SPACES[owner].parameters
        }

    def _parameter(self, owner: str, name: str) -> Parameter:
        for key in (f"{owner}/{name}", f"{EVERY_OWNER}/{name}"):
            if key in self.overrides:
                return checked(name, self.overrides[key])
        return SPACES[owner].parameters[name]

    def _problem(self, key: str) -> str | None:
        """Return what is wrong with an override, if anything."""
        owner, slash, name = key.partition("/")
        if not slash:
            return f"{key}: say whose: */{key} for every algorithm or network that has it"
        if owner != EVERY_OWNER and owner not in SPACES:
            return f"{key}: unknown algorithm or network {owner}: {nearest(owner, SPACES)}"
        owners = list(SPACES) if owner == EVERY_OWNER else [owner]
        known = {known for each in owners for known in SPACES[each].parameters}
        if name not in known:
            return f"{key}: unknown parameter {name}: {nearest(name, known)}"
        try:
            checked(name, self.overrides[key])
        except SpaceError as error:
            return f"{key}: {error}"
        return None


def _choose(trial: Trial, name: str, options: Sequence[str]) -> str:
    """Ask only where there is something to choose."""
    return options[0] if len(options) == 1 else trial.suggest_categorical(name, tuple(options))
