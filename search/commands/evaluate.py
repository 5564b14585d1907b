"""`metasweep evaluate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search.commands.options import Data, absolute
from search.config import MOST_EVALUATION_EPISODES, Config
from search.garbage import collector_paused

if TYPE_CHECKING:
    from episodes.episode import TaskDistribution
    from search.records import EpisodeRecords
    from search.snapshot import Snapshot


def evaluate_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder, or a trial's folder.")],
    episodes: Annotated[
        int, typer.Option(min=2, max=MOST_EVALUATION_EPISODES, help="Meta-test episodes.")
    ] = 1000,
    data: Data = None,
) -> None:
    """Judge a checkpoint on meta-test, with a 95 % interval."""
    from dataclasses import replace

    with collector_paused(for_good=True):
        from search.checkpoint import load
        from search.checkpoint_checks import checked_config, learned
        from search.devices import has_device
        from search.distribution import distribution_of
        from search.fitting import check_builds
        from search.memory import enough_memory
        from search.records import interval
        from search.trial_folder import newest_checkpoint

    console = Console(markup=False, highlight=False)
    path = newest_checkpoint(checkpoint) if os.path.isdir(checkpoint) else checkpoint
    found = load(path)
    config = checked_config(path, found)
    if not has_device(config.device):
        console.print(f"trained on {config.device}, which is not here: judged on the CPU")
        config = replace(config, device="cpu")
    distribution = distribution_of(config.problem, absolute(data))
    check_builds(config, distribution)
    with enough_memory(path):
        snapshot = learned(path, config, distribution, found.snapshot)
        records = _judged(config, distribution, snapshot, episodes)
    metric = config.problem.metric
    result = interval(records.metric(metric))
    before = records.score_before if metric != "query_loss" else records.loss_before
    console.print(f"{config.algorithm} on {config.network}, {config.problem.name}, meta-test:")
    console.print(
        f"  {metric} {result.mean:.4f}  95 % interval {result.ci95_low:.4f} to "
        f"{result.ci95_high:.4f} over {result.n} episodes "
        f"({before.mean():.4f} before adaptation)"
    )
    for line in _pooled(records):
        console.print(f"  {line}")


def _pooled(records: EpisodeRecords) -> list[str]:
    """Return a line for each number that is not a mean over episodes."""
    classes = len(set(records.classes.flat))
    of = {
        "class_iou": f"mean over {classes} classes, each of all pixels of its episodes",
        "fb_iou": "mean of foreground and background, each of all pixels of all episodes",
    }
    return [f"{name} {value:.4f}, {of[name]}" for name, value in records.pooled().items()]


def _judged(
    config: Config, distribution: TaskDistribution, snapshot: Snapshot, episodes: int
) -> EpisodeRecords:
    """Return the meta-test episodes of every learner in a snapshot."""
    import torch

    from algorithms.engine import Formulation
    from search.evaluation import evaluate
    from search.records import concatenate
    from search.training import restore_learners

    learners = restore_learners(config, distribution, snapshot)
    return concatenate(
        [
            evaluate(
                learner,
                distribution,
                config.problem,
                "test",
                Formulation.from_dict(snapshot.state["formulation"]),
                device=torch.device(config.device),
                episodes_seen=snapshot.state["episodes"],
                seed=seed,
                episodes=range(episodes),
            )
            for seed, learner in learners.items()
        ]
    )
