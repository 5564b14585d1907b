"""What does each algorithm cost? Run with `python -m benchmarks.algorithms [--output FILE]`.

For every registered algorithm the meta-gradient of one meta-batch is timed on two problems, all of
them taking turns so that a change of the machine's load meets them alike: sinusoids (10 shots,
MLP 40-40, 25 episodes) and Omniglot-shaped images (5-way 1-shot, 5 queries a class, Conv4-32, 8
episodes), with 1 and 5 inner steps where there is an inner loop. Printed are milliseconds an
episode (medians), and for 5 steps the ratio to MAML. With --output, a document with the recipes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from algorithms import ALGORITHMS, Algorithm, Hyper, Objective, engine, make
from algorithms.parts import noise
from algorithms.parts.losses import CLASSIFICATION, REGRESSION
from algorithms.recipe import MAML
from benchmarks.process import machine, pin
from episodes.episode import Episodes, Examples
from networks import Network, build

STEPS = (1, 5)
WAYS = 5


@dataclass(frozen=True)
class Problem:
    """A network and a meta-batch of random episodes in the shape of a well-known problem."""

    name: str
    network: Network
    objective: Objective
    episodes: Episodes


def sinusoid() -> Problem:
    """10 shots and 10 queries, two layers of 40, 25 episodes."""

    def examples() -> Examples:
        inputs = torch.empty(25, 10, 1).uniform_(-5, 5)
        return Examples(inputs, torch.sin(inputs))

    none = torch.empty((25, 0), dtype=torch.int64)
    episodes = Episodes(examples(), examples(), none, torch.arange(25))
    return Problem("sinusoid", build("mlp", (1,), 1, {}), Objective(REGRESSION), episodes)


def omniglot() -> Problem:
    """5-way 1-shot with 5 queries a class on 28 x 28 pixels, 32 filters, 8 episodes."""

    def examples(shots: int) -> Examples:
        labels = torch.arange(WAYS).repeat(shots).expand(8, -1)
        return Examples(torch.rand(8, WAYS * shots, 1, 28, 28), labels)

    classes = torch.arange(WAYS).expand(8, -1)
    episodes = Episodes(examples(1), examples(5), classes, torch.arange(8))
    network = build("conv4", (1, 28, 28), WAYS, {"filters": 32})
    objective = Objective(CLASSIFICATION, ways=WAYS, train_classes=WAYS)
    return Problem("omniglot", network, objective, episodes)


def hyperparameters(steps: int) -> Hyper:
    """Return all that any algorithm needs."""
    numbers = {
        "inner_lr": 0.01,
        "inner_momentum": 0.9,
        "inner_decay": 0.99,
        "inner_weight_decay": 5e-4,
        "proximal_strength": 2.0,
        "multi_step_share": 0.1,
        "first_order_share": 0.3,
        "progress": 0.5,
        "attention_scale": 1.0,
    }
    counts = {"inner_steps": steps, "cg_steps": 5, "context_size": 5}
    return {name: torch.tensor(value) for name, value in numbers.items()} | counts


Case = tuple[str, str, int]
"""Problem, algorithm, inner steps."""


def cases(problem: Problem) -> Iterator[tuple[Case, Callable[[], None]]]:
    """Yield what is timed, and a call that does it."""
    formulation = engine.choose(problem.episodes.support.inputs.shape[2:], torch.device("cpu"))
    for name, entry in ALGORITHMS.items():
        if name in ("composed", "scratch") or (entry.classes and problem.objective.ways is None):
            continue
        algorithm = make(name, problem.network, problem.objective, {})
        for steps in STEPS if algorithm.adapts and name != "pretrain" else STEPS[:1]:
            yield (problem.name, name, steps), _call(problem, algorithm, steps, formulation)


def _call(
    problem: Problem, algorithm: Algorithm, steps: int, formulation: engine.Formulation
) -> Callable[[], None]:
    hyper = hyperparameters(steps)
    meta, state = algorithm.init(hyper, torch.Generator().manual_seed(0))
    keys = noise.keys_of(0, problem.episodes.index)

    def call() -> None:
        engine.meta_gradients(algorithm, formulation, meta, state, hyper, problem.episodes, keys)

    return call


def measured(problem: Problem, repeats: int) -> dict[Case, float]:
    """Return the median milliseconds an episode of each case."""
    calls = dict(cases(problem))
    times: dict[Case, list[float]] = {case: [] for case in calls}
    for turn in range(repeats + 1):
        for case, call in calls.items():
            began = time.perf_counter()
            call()
            if turn > 0:  # the first turn only warms up
                times[case].append(time.perf_counter() - began)
    count = len(problem.episodes)
    return {case: 1e3 * statistics.median(found) / count for case, found in times.items()}


def rows(found: dict[Case, float]) -> list[list[str]]:
    """Return a row an algorithm: name, then for both problems 1 step, 5 steps, ratio to MAML."""
    table = []
    for name in ALGORITHMS:
        cells = [name]
        for problem in ("sinusoid", "omniglot"):
            one, five = (found.get((problem, name, steps)) for steps in STEPS)
            reference = found[(problem, "maml", STEPS[1])]
            cells += [
                "" if one is None else f"{one:.3g}",
                "" if five is None else f"{five:.3g}",
                "" if five is None else f"{five / reference:.2f}",
            ]
        if any(cells[1:]):
            table.append(cells)
    return table


HEADINGS = (
    "algorithm",
    *("sinusoid, 1 step", "5 steps", "to MAML"),
    *("omniglot, 1 step", "5 steps", "to MAML"),
)


def markdown(headings: tuple[str, ...] | list[str], table: list[list[str]]) -> str:
    """Return a table as Markdown."""
    lines = [headings, ["---"] * len(headings), *table]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def recipes() -> str:
    """Return the table of recipes: a cell is empty where a part is MAML's."""
    plain = MAML.parts()
    table = []
    for name, entry in ALGORITHMS.items():
        if entry.recipe is not None:
            parts = entry.recipe.parts()
            own = [
                str(value) if value != plain[part] or name == "maml" else ""
                for part, value in parts.items()
            ]
            table.append([f"`{name}`", *own])
    return markdown(["recipe", *plain], table)


def summaries() -> str:
    """Return a list of all algorithms with the file that holds each and its paper."""
    lines = []
    for name, entry in ALGORITHMS.items():
        module = entry.make.__module__.rpartition(".")[2]
        first = (entry.make.__doc__ or "").partition("\n\n")[0]
        about = " ".join(first.split()).removeprefix("Build ")
        lines.append(f"- [`{name}`](../algorithms/{module}.py): {about}")
    return "\n".join(lines)


def document(table: list[list[str]]) -> str:
    """Return docs/algorithms.md."""
    where = ", ".join(f"{key} {value}" for key, value in machine().items())
    return f"""# Algorithms

Written by `python -m benchmarks.algorithms --output docs/algorithms.md`.

{summaries()}

## What each composes

An inner loop and its meta-gradient are made of independent choices;
[recipe.py](../algorithms/recipe.py) says what each means. A named recipe is a point in this table;
an empty cell is MAML's. `composed` searches all of them. `alfa`, `prototypical`, `matching`,
`pretrain` and `scratch` are no points of it: ALFA's rates depend on the episode, and the others
have no inner loop that is differentiated.

`pretrain` minimizes the mean over episodes of the loss on all of an episode's examples, and batch
normalization is by these examples, as it is for the others: so neither `meta_batch_size` nor memory
changes what is computed. Chen et al. 2019 normalize over mini-batches of 16 images of any classes.

{recipes()}

Combinations that make no sense are never drawn: several rates are always learned; `difference` and
`implicit` differentiate no query loss through the loop, so nothing but the weights is learned; a
zeroed head has to adapt; a context vector has no preconditioner; `layerwise` maps need a network
without grouped convolutions, which leaves `t-net` and `mt-net` some models of torchvision;
`per_step` is asked where the network has layers that normalize.

The first trials of `composed` are these recipes, with the values that the search space of each has
from its paper. What `space` says of a parameter holds in every trial: `composed/outer_lr: 0.01` is
then also the rate of Reptile, whose published ones are 50 to 100 times that. Where a range depends
on the parts, each variant has a name of its own and can be set apart, such as
`composed/outer_lr@difference`; `metasweep search NAME --dry-run` lists them all. It also says which
published values an override moves and which recipes it leaves out.

## What each costs

Milliseconds an episode for one meta-gradient, medians on one core, uncompiled
({where}; torch {torch.__version__}). Sinusoids with an MLP 40-40, 25 episodes a
batch; Omniglot-shaped images, 5-way 1-shot with 5 queries a class, Conv4-32, 8 episodes a batch.

{markdown(HEADINGS, table)}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="turns to take the median of")
    parser.add_argument("--output", type=Path, help="document to write")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pin(1)
    found: dict[Case, float] = {}
    for problem in (sinusoid(), omniglot()):
        found |= measured(problem, arguments.repeats)
    table = rows(found)
    print(markdown(HEADINGS, table))
    if arguments.output is not None:
        arguments.output.write_text(document(table))


if __name__ == "__main__":
    main()
