"""What do replicas cost? Run with `python -m benchmarks.replicas [--device cuda]`.

Second-order MAML on sinusoids (MLP 40-40, 10 shots, 1 step), uncompiled, on a GPU as CUDA graphs:
the meta-gradients of 1, 2, 4 and 8 replicas of a configuration, as a trial with `seeds` runs them,
for several meta-batches.
Printed is the time as a ratio to one replica's; fastest of several turns, taken alternately.
`algorithms.engine.TOGETHER` rests on it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

import torch

from algorithms import Hyper, Objective, engine, make
from algorithms.allocator import keep_freed_memory
from algorithms.parts import noise
from algorithms.parts.axis import stacked
from algorithms.parts.losses import REGRESSION
from benchmarks.engine import timed
from episodes.episode import joined
from episodes.sinusoid import Sinusoid
from networks import build

META_BATCHES = (1, 4, 8, 25)
REPLICAS = (1, 2, 4, 8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--together", type=int, help="another number of episodes at once")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a trial does when it starts
    device = torch.device(arguments.device)
    algorithm = make("maml", build("mlp", (1,), 1, {}), Objective(REGRESSION), {})
    hyper: Hyper = {"inner_lr": torch.tensor(0.01, device=device), "inner_steps": 1}
    batches = engine.CAPTURED_FROM if device.type == "cuda" else None
    formulation = engine.choose((1,), device, batches)
    ready = engine.prepared(formulation, "benchmarks/replicas")
    source = Sinusoid(10, 10)
    if arguments.together is not None:
        formulation = replace(formulation, together=arguments.together)
    print(f"{'meta-batch':>10}" + "".join(f"{count:>10}" for count in REPLICAS) + " replicas")
    for size in META_BATCHES:
        best = dict.fromkeys(REPLICAS, float("inf"))
        for _ in range(arguments.repeats):
            for count in REPLICAS:
                drawn = [
                    algorithm.init(hyper, torch.Generator().manual_seed(seed))[0]
                    for seed in range(count)
                ]
                meta = stacked(drawn) if count > 1 else drawn[0]
                meta = {name: value.to(device) for name, value in meta.items()}
                episodes = joined(
                    [source.sample("train", s, range(size)) for s in range(count)]
                ).to(device)
                keys = noise.keys_of(0, episodes.index)
                run = partial(
                    engine.meta_gradients,
                    algorithm,
                    formulation,
                    meta,
                    {},
                    hyper,
                    episodes,
                    keys,
                    ready,
                    count if count > 1 else None,
                )
                best[count] = min(best[count], timed(run, device))
        print(f"{size:>10}" + "".join(f"{best[count] / best[1]:>10.2f}" for count in REPLICAS))


if __name__ == "__main__":
    main()
