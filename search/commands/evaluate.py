"""`metasweep evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import Data, absolute


def evaluate_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder, or a trial's folder.")],
    episodes: Annotated[int, typer.Option(min=2, help="Meta-test episodes.")] = 1000,
    data: Data = None,
) -> None:
    """Judge a checkpoint on meta-test, with a 95 % interval."""
    import torch

    from algorithms.engine import Formulation
    from search.checkpoint import load
    from search.distribution import distribution_of
    from search.evaluation import evaluate
    from search.records import concatenate, interval
    from search.training import restore_learners
    from search.trial_folder import newest_checkpoint

    found = load(newest_checkpoint(checkpoint))
    config = found.config
    distribution = distribution_of(config.problem, absolute(data))
    learners = restore_learners(config, distribution, found.snapshot)
    records = concatenate(
        [
            evaluate(
                learner,
                distribution,
                config.problem,
                "test",
                Formulation.from_dict(found.snapshot.state["formulation"]),
                device=torch.device(config.device),
                episodes_seen=int(found.snapshot.state["episodes"]),
                seed=seed,
                episodes=range(episodes),
            )
            for seed, learner in learners.items()
        ]
    )
    metric = config.problem.metric
    result = interval(records.metric(metric))
    before = records.accuracy_before if metric == "query_accuracy" else records.loss_before
    console = Console()
    console.print(f"{config.algorithm} on {config.network}, {config.problem.name}, meta-test:")
    console.print(
        f"  {metric} {result.mean:.4f}  95 % interval {result.ci95_low:.4f} to "
        f"{result.ci95_high:.4f} over {result.n} episodes "
        f"({before.mean():.4f} before adaptation)"
    )
