"""The space of a whole search: which algorithm, which network, and what belongs to each."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from spaces.algorithms import ALGORITHM_SPACES
from spaces.errors import SpaceError, nearest
from spaces.mixing import mixing_problems
from spaces.networks import NETWORK_SPACES
from spaces.parameter import Choice, Fixed, Parameter, Trial, Value, values_of
from spaces.space import EVERY_OWNER, UNGROUPED, Kind, Space, bare, checked

SPACES: Mapping[str, Space] = ChainMap(ALGORITHM_SPACES, NETWORK_SPACES)


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
        owners = (*self.algorithms, *self.networks)
        problems = [problem for name in owners if (problem := self._unfit(name))]
        problems += [problem for key in self.overrides if (problem := self._problem(key))]
        if not problems:
            problems += mixing_problems(self.algorithms, self.networks, self.overrides, SPACES)
        if problems:
            raise SpaceError("\n".join(problems))

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter that this search can meet, by full name, overrides applied."""
        return {
            f"{owner}/{name}": self._parameter(owner, name)
            for owner in (*self.algorithms, *self.networks)
            for known in SPACES[owner].parameters
            for name in self._variants(owner, known)
        }

    def suggest(self, trial: Trial) -> Learner:
        """Let the trial choose a learner. Parameters of what was not chosen are not suggested."""
        algorithm = _choose(trial, "algorithm", self.algorithms)
        network = _choose(trial, "network", self.networks)

        def ask(name: str, parameter: Parameter) -> Value:
            return parameter.suggest(trial, name)

        settings = self._walk_network(algorithm, network, ask)
        hyper = self._walk(algorithm, ask, SPACES[network].seen(settings))
        return Learner(algorithm, hyper, network, settings)

    def defaults(self, algorithm: str, network: str) -> dict[str, Value]:
        """Return the published defaults of a pair as parameters for `study.enqueue_trial`.

        A default that an override excludes is replaced by the nearest value that it allows.
        """
        return self._enqueued(algorithm, network, {})

    def nearest_learner(self, algorithm: str, network: str) -> Learner:
        """Return the learner that the published defaults of a pair become in this space."""
        values: dict[str, dict[str, Value]] = {algorithm: {}, network: {}}
        for name, (_, _, value) in self._nearest(algorithm, network, {}).items():
            owner, _, own = name.rpartition("/")
            values[owner][bare(own)] = value
        return Learner(algorithm, values[algorithm], network, values[network])

    def points(self, algorithm: str, network: str) -> dict[str, dict[str, Value]]:
        """Return the further points of a pair that are worth trying first, by name.

        Those of `excluded_points` are left out; other values are moved into what is allowed.
        """
        excluded = self.excluded_points(algorithm, network)
        return {
            name: self._enqueued(algorithm, network, values)
            for name, values in self._wanted(algorithm).items()
            if name not in excluded
        }

    def excluded_points(self, algorithm: str, network: str) -> dict[str, dict[str, Value]]:
        """Return the further points that would be another recipe here, and what of them cannot be.

        That is so where a part of the structure, or any word or truth value of a space without
        structure, is excluded by an override, by the network or by the kind of problem.
        """
        structure = SPACES[algorithm].structure
        excluded: dict[str, dict[str, Value]] = {}
        for point, values in self._wanted(algorithm).items():
            reached = self._reached(algorithm, network, values)
            for name, value in values.items():
                is_part = name in structure if structure else isinstance(value, str | bool)
                if is_part and reached.get(name, (None, None))[1] != value:
                    excluded.setdefault(point, {})[name] = value
        return excluded

    def adjusted_points(
        self, algorithm: str, network: str
    ) -> dict[str, dict[str, tuple[Value, Value]]]:
        """Return, for each of `points` that is moved, (published, used) by full name."""
        excluded = self.excluded_points(algorithm, network)
        adjusted = {
            point: {
                f"{algorithm}/{name}": (wanted, value)
                for name, (wanted, value) in self._reached(algorithm, network, values).items()
                if wanted != value
            }
            for point, values in self._wanted(algorithm).items()
            if point not in excluded
        }
        return {point: moves for point, moves in adjusted.items() if moves}

    def adjusted_defaults(self) -> dict[str, tuple[Value, Value]]:
        """Return (published, used) for each default that an override excludes.

        The variant of a parameter has a name of its own where it does not start as the others do.
        """
        starts: dict[str, dict[str, tuple[Value, Value]]] = defaultdict(dict)
        for algorithm in self.algorithms:
            for network in self.networks:
                for name, (_, published, used) in self._nearest(algorithm, network, {}).items():
                    starts[bare(name)][name] = published, used
        return {
            name if len({*variants.values()}) > 1 else plain: (published, used)
            for plain, variants in starts.items()
            for name, (published, used) in variants.items()
            if published != used
        }

    def _wanted(self, algorithm: str) -> dict[str, Mapping[str, Value]]:
        """Return the further points for this kind of problem, as changes of the defaults."""
        points = SPACES[algorithm].points.items()
        return {name: values[self.kind] for name, values in points if self.kind in values}

    def _reached(
        self, algorithm: str, network: str, changes: Mapping[str, Value]
    ) -> dict[str, tuple[Value, Value]]:
        """Return (wanted, nearest allowed) of what matters of an algorithm at a point.

        What makes no difference there is allowed to be as it is wanted.
        """
        idle = SPACES[algorithm].idle
        return {
            bare(own): (wanted, wanted if own in idle else value)
            for name, (_, wanted, value) in self._nearest(algorithm, network, changes).items()
            if (own := name.removeprefix(f"{algorithm}/")) != name
        }

    def _walk(
        self,
        owner: str,
        ask: Callable[[str, Parameter], Value],
        seen: Mapping[str, Value],
        variants: Mapping[str, str] | None = None,
    ) -> dict[str, Value]:
        def ask_by_full_name(name: str, parameter: Parameter) -> Value:
            full = f"{owner}/{(variants or {}).get(name, name)}"
            return ask(full, self.parameters[full])

        return SPACES[owner].walk({"kind": self.kind, **seen}, ask_by_full_name)

    def _walk_network(
        self, algorithm: str, network: str, ask: Callable[[str, Parameter], Value]
    ) -> dict[str, Value]:
        grouped = SPACES[network].grouped if SPACES[algorithm].ungrouped else ()
        return self._walk(network, ask, {}, {name: f"{name}{UNGROUPED}" for name in grouped})

    def _variants(self, owner: str, name: str) -> list[str]:
        """Return the names under which trials are asked for a parameter."""
        if name not in SPACES[owner].grouped:
            return [name]
        # Optuna wants the same options whenever it is asked for a name.
        needs = {SPACES[algorithm].ungrouped for algorithm in self.algorithms}
        return [f"{name}{UNGROUPED}" if need else name for need in sorted(needs)]

    def _nearest(
        self, algorithm: str, network: str, changes: Mapping[str, Value]
    ) -> dict[str, tuple[Parameter, Value, Value]]:
        """Return (parameter, wanted, nearest allowed) by full name, on the way to a point."""
        met: dict[str, tuple[Parameter, Value, Value]] = {}

        def asking(owner: str, wanted: Mapping[str, Value]) -> Callable[[str, Parameter], Value]:
            def ask(name: str, parameter: Parameter) -> Value:
                value = wanted[bare(name.rpartition("/")[2])]
                met[name] = (parameter, value, parameter.closest(value))
                return met[name][2]

            return ask

        structure = SPACES[network].defaults[self.kind]
        settings = self._walk_network(algorithm, network, asking(network, structure))
        values = {**SPACES[algorithm].defaults[self.kind], **changes}
        self._walk(algorithm, asking(algorithm, values), SPACES[network].seen(settings))
        return met

    def _enqueued(
        self, algorithm: str, network: str, changes: Mapping[str, Value]
    ) -> dict[str, Value]:
        chosen: dict[str, Value] = {}
        if len(self.algorithms) > 1:
            chosen["algorithm"] = algorithm
        if len(self.networks) > 1:
            chosen["network"] = network
        for name, (parameter, _, value) in self._nearest(algorithm, network, changes).items():
            if not isinstance(parameter, Fixed):
                chosen[name] = value
        return chosen

    def _parameter(self, owner: str, name: str) -> Parameter:
        space = SPACES[owner]
        for key in (f"{owner}/{name}", f"{EVERY_OWNER}/{name}"):
            if key in self.overrides and name != bare(name):
                return checked(name, self.overrides[key])
        if name.endswith(UNGROUPED) and bare(name) in space.grouped:
            own = self._parameter(owner, bare(name))
            kept = tuple(v for v in values_of(own) if v not in space.grouped[bare(name)])
            return Choice(kept) if isinstance(own, Choice) else Fixed(kept[0])
        for key in (f"{owner}/{bare(name)}", f"{EVERY_OWNER}/{bare(name)}"):
            if key in self.overrides:
                override = checked(name, self.overrides[key])
                return _fitted(space, name, override) if bare(name) in space.structure else override
        return space.parameters[name]

    def _unfit(self, owner: str) -> str | None:
        if self.kind in SPACES[owner].defaults:
            return None
        owners = ALGORITHM_SPACES if owner in ALGORITHM_SPACES else NETWORK_SPACES
        fitting = [name for name, space in owners.items() if self.kind in space.defaults]
        instead = f" (for these: {', '.join(fitting)})" if fitting else ""
        return f"{owner}: is not for {self.kind} problems{instead}"

    def _problem(self, key: str) -> str | None:
        """Return what is wrong with an override, if anything."""
        owner, slash, name = key.rpartition("/")
        if not slash:
            return f"{key}: say whose: */{key} for every algorithm or network that has it"
        if owner != EVERY_OWNER and owner not in SPACES:
            return f"{key}: unknown algorithm or network {owner}: {nearest(owner, SPACES)}"
        owners = list(SPACES) if owner == EVERY_OWNER else [owner]
        known = {bare(known) for each in owners for known in SPACES[each].parameters}
        full = {known for each in owners for known in SPACES[each].parameters}
        full |= {f"{known}{UNGROUPED}" for each in owners for known in SPACES[each].grouped}
        if name not in known | full:
            return f"{key}: unknown parameter {name}: {nearest(name, known)}"
        try:
            checked(name, self.overrides[key])
        except SpaceError as error:
            return f"{key}: {error}"
        return None


def _fitted(space: Space, name: str, override: Parameter) -> Parameter:
    """Return what of an override one variant of a structural parameter allows.

    A value that no variant knows is let through where there is a choice at all. Where nothing is
    left, the variant stays as it is: there the override would not fit.
    """
    own = space.parameters[name]
    variants = [known for each, known in space.parameters.items() if bare(each) == bare(name)]
    allowed = tuple(
        value
        for value in values_of(override)
        if own.contains(value)
        or not (isinstance(own, Fixed) or any(variant.contains(value) for variant in variants))
    )
    if not allowed:
        return own
    return Choice(allowed) if isinstance(override, Choice) else Fixed(allowed[0])


def _choose(trial: Trial, name: str, options: Sequence[str]) -> str:
    """Ask only where there is something to choose."""
    return options[0] if len(options) == 1 else trial.suggest_categorical(name, tuple(options))
