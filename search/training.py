"""Meta-training of one configuration, as a generator of reports. Knows no Ray and no MLflow."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch

from algorithms import Diagnostics, engine
from algorithms.algorithm import Hyper
from algorithms.allocator import keep_freed_memory
from algorithms.errors import PreparationError
from algorithms.parts import noise
from algorithms.parts.axis import stacked
from episodes.episode import Episodes, TaskDistribution, joined, sampling_on
from networks.network import Params
from search.building import build, evaluation_steps, hyperparameters, identity
from search.config import Config
from search.devices import make_current
from search.episode_stream import EpisodeStream, Trained, training_rows
from search.evaluation import Learner, evaluate, try_one_chunk
from search.formulating import formulation_of
from search.memory import peak_megabytes, reset_peak
from search.outer_loop import OuterLoop
from search.records import EpisodeRecords, Interval, concatenate, interval
from search.snapshot import Snapshot

log = logging.getLogger("metasweep")

Phase = Literal["train", "rung", "final", "diverged"]
META, STATE = "meta/", "state/"
REPORT_SECONDS = 1.0
LATER_REPORTS = 5.0
"""From so many seconds of training on, reports come less often, at last so many times less."""


@dataclass(frozen=True)
class Report:
    """What `meta_train` yields.

    phase: "train" from time to time, so that whoever listens can seal a checkpoint or stop;
        "rung" at each rung; "final" or "diverged" last.
    episodes: training episodes seen.
    validation: the problem's metric over the rung episodes ("rung") or the ranking ones ("final").
    test: the same over meta-test ("final").
    records: every episode since the report before; each element holds one split.
    snapshot: all that is needed to go on from here.
    train_seconds: spent in training alone, since the first episode of the trial.
    adaptation_ms: mean milliseconds to adapt to one episode and judge it ("rung", "final").
    reason: what diverged, and when.
    """

    phase: Phase
    episodes: int
    validation: Interval | None
    test: Interval | None
    records: tuple[EpisodeRecords, ...]
    snapshot: Snapshot
    train_seconds: float
    peak_memory_mb: float
    adaptation_ms: float
    reason: str = ""


def seconds_to_report(trained: float) -> float:
    """Return how long a trial that has trained for so many seconds says nothing: 1 to 5 s.

    Every report passes through the driver of all trials, and what is young is watched closest.
    """
    return REPORT_SECONDS * min(max(1.0, trained / LATER_REPORTS), LATER_REPORTS)


def restore_learners(
    config: Config, distribution: TaskDistribution, snapshot: Snapshot
) -> dict[int, Learner]:
    """Return the learners of a snapshot by their seeds, ready to adapt on the config's device."""
    return _Run(config, distribution, snapshot).learners()


def meta_train(
    config: Config,
    distribution: TaskDistribution,
    resume: Snapshot | None = None,
    smaller: int = 1,
    measured: bool = False,
) -> Iterator[Report]:
    """Train, validate at each rung, and at the end rank and test one configuration.

    With `resume` training goes on from a snapshot and gives the numbers that it would have given
    without the interruption. The last report is "final", or "diverged" as soon as a training loss
    or a meta-validation loss is not finite.
    Where `config.seeds` is above 1, so many replicas are trained, each on its own episodes; values
    are then means over them, episode by episode.
    smaller: how many times less memory a chunk of episodes may take than usual; the gradient of a
        meta-batch stays the same, within rounding.
    measured: whether a chunk is evaluated first, so that already the first report tells a peak of
        memory that evaluations are part of; the numbers stay the same.
    """
    run = _Run(config, distribution, resume, smaller)
    if measured:
        learner = run.learners()[config.seed]
        try_one_chunk(learner, distribution, config.problem, run.formulation, run.device)
    yield from run.reports()


class _Run:
    """One pass of `meta_train`."""

    def __init__(
        self,
        config: Config,
        distribution: TaskDistribution,
        resume: Snapshot | None,
        smaller: int = 1,
    ):
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.config = config
        self.device = torch.device(config.device)
        make_current(self.device)
        self.distribution = sampling_on(distribution, self.device)
        self.hyper = hyperparameters(config, self.device)
        self.algorithm, self.loss = build(config, distribution)
        self.seeds = list(range(config.seed, config.seed + config.seeds))
        self.replicas = config.seeds if config.seeds > 1 else None
        self.meta, self.state = self._initial()
        self.smaller = smaller
        self.formulation = self._formulation(resume)
        self.ready = engine.prepared(self.formulation, identity(config, distribution))
        self.outer = OuterLoop(self.meta, config.hyper, self.replicas)
        batch = int(config.hyper["meta_batch_size"])
        stream = partial(EpisodeStream, batch=batch, episodes=config.episodes)
        self.streams = [stream(self.distribution, seed) for seed in self.seeds]
        self.seen = 0
        self.train_seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.pending: list[Trained] = []
        reset_peak(self.device)
        if resume is not None:
            self._restore(resume)

    def _initial(self) -> tuple[Params, Params]:
        """Return what is meta-learned and the state, stacked where there are replicas."""
        drawn = [
            self.algorithm.init(self.hyper, torch.Generator().manual_seed(seed))
            for seed in self.seeds
        ]
        metas, states = [meta for meta, _ in drawn], [state for _, state in drawn]
        joined = (stacked(metas), stacked(states)) if self.replicas else drawn[0]
        meta, state = ({k: v.to(self.device).contiguous() for k, v in m.items()} for m in joined)
        return meta, state

    def _formulation(self, resume: Snapshot | None) -> engine.Formulation:
        """Return how batches are run: as before an interruption, else as configured or chosen."""
        if resume is not None:
            wanted = engine.Formulation.from_dict(resume.state["formulation"])
        else:
            wanted = formulation_of(self.config, self.distribution)
        found = engine.possible(wanted, self.device)
        if wanted.compiled and not found.compiled:
            log.warning("no C++ compiler is found: %s runs uncompiled", self.config.algorithm)
        if resume is not None:
            return self._made_smaller(found, resume)
        meta, state = self._own(self.meta, 0), self._own(self.state, 0)
        hyper = {**self.hyper, "progress": torch.tensor(0.0, device=self.device)}

        def drawn(count: int) -> Episodes:
            sample = self.distribution.sample("train", self.config.seed, range(count))
            return sample.to(self.device)

        one = drawn(1)
        fitting = engine.fitted(found, self.algorithm, meta, state, hyper, one, one.index)
        fitting = self._made_smaller(fitting, None)
        if fitting.precision == "float32":
            return fitting
        batch = drawn(min(int(self.config.hyper["meta_batch_size"]), self.config.episodes))
        # What an annealed meta-gradient is at first says little of what it becomes.
        for progress in (0.0, 1.0):
            at = {**hyper, "progress": torch.tensor(progress, device=self.device)}
            here = (self.algorithm, meta, state, at, batch, batch.index)
            fitting = engine.exact_enough(fitting, *here)
        return fitting

    def _made_smaller(
        self, formulation: engine.Formulation, resume: Snapshot | None
    ) -> engine.Formulation:
        """Return the formulation with as much less memory as asked, unless that is done already."""
        before = int(resume.state.get("smaller", 1)) if resume else 1
        if self.smaller <= before:
            self.smaller = before
            return formulation
        batch = int(self.config.hyper["meta_batch_size"])
        return engine.smaller(formulation, batch, before / self.smaller)

    def learners(self) -> dict[int, Learner]:
        """Return what has been learned so far, by seed."""
        return {
            seed: Learner(
                self.algorithm,
                self.loss,
                self.hyper,
                self._own(self.meta, place),
                self._own(self.state, place),
                evaluation_steps(self.config),
            )
            for place, seed in enumerate(self.seeds)
        }

    def _own(self, values: Params, place: int) -> Params:
        """Return what belongs to one replica."""
        return {k: v[place] for k, v in values.items()} if self.replicas else values

    def reports(self) -> Iterator[Report]:
        boundaries = (*self.config.rungs, self.config.episodes)
        for boundary in boundaries[len(self.history) :]:
            for report in self._train_until(boundary):
                yield report
                if report.phase == "diverged":
                    return
            report = self._judge()
            yield report
            if report.phase == "diverged":
                return

    def _train_until(self, boundary: int) -> Iterator[Report]:
        batch = int(self.config.hyper["meta_batch_size"])
        last = time.perf_counter()
        while self.seen < boundary:
            began = time.perf_counter()
            count = min(batch, boundary - self.seen)
            self._train_on([stream.take(self.seen, count) for stream in self.streams])
            now = time.perf_counter()
            self.train_seconds += now - began
            if now - last >= seconds_to_report(self.train_seconds) or self.seen == boundary:
                last = now
                self._wait_for_gpu()
                records, self.pending = training_rows(self.pending, self.seeds, self.loss.name), []
                bad = ~np.isfinite(records.loss_after)
                if bad.any():
                    index = int(records.index[bad.argmax()])
                    yield self._report(
                        "diverged",
                        [records],
                        reason=f"training loss is "
                        f"{records.loss_after[bad.argmax()]} at episode {index}",
                    )
                    return
                yield self._report("train", [records])

    def _train_on(self, batches: list[Episodes]) -> None:
        """Take one outer step on a batch of episodes for each replica."""
        began = time.perf_counter()
        episodes = joined(batches).to(self.device)
        progress = self.seen / self.config.episodes
        keys = [
            noise.keys_of(seed, batch.index)
            for seed, batch in zip(self.seeds, batches, strict=True)
        ]
        hyper = {**self.hyper, "progress": torch.tensor(progress, device=self.device)}
        gradients, self.state, diagnostics = self._gradients(
            hyper, episodes, torch.cat(keys).to(self.device)
        )
        self.outer.step(gradients, progress)
        self.seen += len(batches[0])
        seconds = (time.perf_counter() - began) / len(episodes)
        self.pending.append(
            Trained(episodes.index, episodes.classes, diagnostics, seconds, self.seen)
        )

    def _wait_for_gpu(self) -> None:
        """Count what the GPU still has to do, and spread all it took over the episodes."""
        if self.device.type != "cuda":
            return
        began = time.perf_counter()
        torch.cuda.synchronize(self.device)
        waited = time.perf_counter() - began
        self.train_seconds += waited
        counts = [len(batch.index) for batch in self.pending]
        spent = waited + sum(
            batch.seconds * count for batch, count in zip(self.pending, counts, strict=True)
        )
        self.pending = [replace(batch, seconds=spent / sum(counts)) for batch in self.pending]

    def _gradients(
        self, hyper: Hyper, episodes: Episodes, keys: torch.Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        try:
            return engine.meta_gradients(
                self.algorithm,
                self.formulation,
                self.meta,
                self.state,
                hyper,
                episodes,
                keys,
                self.ready,
                self.replicas,
            )
        except PreparationError as error:
            how = "uncompiled" if self.formulation.compiled else "uncaptured"
            log.warning("%s runs %s: %s", self.config.algorithm, how, error)
            self.formulation = engine.unprepared(self.formulation)
            self.ready = None
            return self._gradients(hyper, episodes, keys)

    def _judge(self) -> Report:
        """Measure meta-validation, and at the end rank and test."""
        final = self.seen >= self.config.episodes
        validation_records = self._evaluate("validation" if final else "rung")
        validation = interval(validation_records.metric(self.config.problem.metric))
        adaptation_ms = 1e3 * float(validation_records.seconds.mean())
        # Not the metric: the largest of outputs that are no numbers still has an accuracy.
        loss = float(validation_records.loss_after.mean())
        if not math.isfinite(loss):
            reason = f"query loss on meta-validation is {loss} after {self.seen} episodes"
            return self._report(
                "diverged", [validation_records], validation=validation, reason=reason
            )
        self.history.append({"episodes": self.seen, "value": validation.mean})
        if not final:
            return self._report(
                "rung", [validation_records], validation=validation, adaptation_ms=adaptation_ms
            )
        test_records = self._evaluate("test")
        return self._report(
            "final",
            [validation_records, test_records],
            validation=validation,
            test=interval(test_records.metric(self.config.problem.metric)),
            adaptation_ms=adaptation_ms,
        )

    def _evaluate(self, split: Literal["rung", "validation", "test"]) -> EpisodeRecords:
        return concatenate(
            [
                evaluate(
                    learner,
                    self.distribution,
                    self.config.problem,
                    split,
                    self.formulation,
                    device=self.device,
                    episodes_seen=self.seen,
                    seed=seed,
                )
                for seed, learner in self.learners().items()
            ]
        )

    def _report(
        self,
        phase: Phase,
        records: list[EpisodeRecords],
        *,
        validation: Interval | None = None,
        test: Interval | None = None,
        adaptation_ms: float = math.nan,
        reason: str = "",
    ) -> Report:
        return Report(
            phase=phase,
            episodes=self.seen,
            validation=validation,
            test=test,
            records=tuple(records),
            snapshot=self._snapshot(),
            train_seconds=self.train_seconds,
            peak_memory_mb=peak_megabytes(self.device),
            adaptation_ms=adaptation_ms,
            reason=reason,
        )

    def _snapshot(self) -> Snapshot:
        tensors = {META + name: value.detach().cpu().clone() for name, value in self.meta.items()}
        tensors |= {STATE + name: value.cpu().clone() for name, value in self.state.items()}
        tensors |= {name: value.cpu() for name, value in self.outer.tensors().items()}
        state = {
            "episodes": self.seen,
            "train_seconds": self.train_seconds,
            "history": list(self.history),
            "formulation": self.formulation.to_dict(),
            "smaller": self.smaller,
        }
        return Snapshot(tensors, state)

    def _restore(self, snapshot: Snapshot) -> None:
        for prefix, values in ((META, self.meta), (STATE, self.state)):
            for name, value in values.items():
                value.copy_(snapshot.tensors[prefix + name])
        self.outer.restore(snapshot.tensors)
        self.seen = int(snapshot.state["episodes"])
        self.train_seconds = float(snapshot.state["train_seconds"])
        self.history = list(snapshot.state["history"])
