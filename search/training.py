"""Meta-training of one configuration, as a generator of reports. Knows no Ray and no MLflow."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

import networks
from algorithms import ALGORITHMS, Algorithm, Diagnostics, Objective, engine
from algorithms.algorithm import Hyper
from algorithms.parts.losses import CLASSIFICATION, REGRESSION, Loss
from episodes.episode import Episodes, TaskDistribution
from networks.network import Params
from search.config import Config
from search.evaluation import Learner, evaluate
from search.memory import peak_megabytes, reset_peak
from search.outer_loop import OuterLoop
from search.records import EpisodeRecords, Interval, concatenate, interval
from search.snapshot import Snapshot

Phase = Literal["train", "rung", "final", "diverged"]
COUNTS = ("inner_steps", "inner_steps_evaluation", "meta_batch_size")
META, STATE = "meta/", "state/"
REPORT_SECONDS = 1.0
DRAWN_AT_ONCE = 512


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


def objective_of(config: Config, distribution: TaskDistribution) -> Objective:
    """Return what an algorithm needs to know of the configuration's problem."""
    loss = CLASSIFICATION if distribution.kind == "classification" else REGRESSION
    problem = config.problem
    return Objective(loss, problem.transductive, problem.ways, distribution.train_classes)


def build(config: Config, distribution: TaskDistribution) -> tuple[Algorithm, Loss]:
    """Build the configuration's algorithm on its network, and the loss it is judged by."""
    network = networks.build(
        config.network, distribution.input_shape, distribution.outputs, config.settings
    )
    objective = objective_of(config, distribution)
    return ALGORITHMS[config.algorithm].make(network, objective), objective.loss


def hyperparameters(config: Config, device: torch.device) -> Hyper:
    """Return the hyperparameters as algorithms want them: numbers as tensors, counts as ints."""
    numbers = {name: value for name, value in config.hyper.items() if not isinstance(value, str)}
    return {
        name: int(value) if name in COUNTS else torch.tensor(float(value), device=device)
        for name, value in numbers.items()
    }


def evaluation_steps(config: Config) -> int:
    """Return the number of inner steps at meta-validation and meta-test."""
    return int(config.hyper["inner_steps_evaluation"])


class EpisodeStream:
    """Training episodes in order of their index, drawn ahead in blocks."""

    def __init__(self, distribution: TaskDistribution, seed: int):
        self._distribution = distribution
        self._seed = seed
        self._first = 0
        self._block: Episodes | None = None
        small = math.prod(distribution.input_shape) <= 64
        self._ahead = DRAWN_AT_ONCE if small else 1

    def take(self, first: int, count: int) -> Episodes:
        """Return episodes first, ..., first + count - 1."""
        offset = first - self._first
        if self._block is None or offset < 0 or offset + count > len(self._block):
            ahead = range(first, first + max(count, self._ahead))
            self._block = self._distribution.sample("train", self._seed, ahead)
            self._first, offset = first, 0
        return self._block[offset : offset + count]


def restore_learner(config: Config, distribution: TaskDistribution, snapshot: Snapshot) -> Learner:
    """Return the learner of a snapshot, ready to adapt on the configuration's device."""
    return _Run(config, distribution, snapshot).learner()


def meta_train(
    config: Config, distribution: TaskDistribution, resume: Snapshot | None = None
) -> Iterator[Report]:
    """Train, validate at each rung, and at the end rank and test one configuration.

    With `resume` training goes on from a snapshot and gives the numbers that it would have given
    without the interruption. The last report is "final", or "diverged" as soon as a training loss
    or a meta-validation loss is not finite.
    """
    run = _Run(config, distribution, resume)
    yield from run.reports()


class _Run:
    """One pass of `meta_train`."""

    def __init__(self, config: Config, distribution: TaskDistribution, resume: Snapshot | None):
        torch.set_num_threads(config.threads)
        self.config = config
        self.distribution = distribution
        self.device = torch.device(config.device)
        self.formulation = (
            engine.Formulation.from_dict(config.formulation)
            if config.formulation
            else engine.choose(distribution.input_shape, self.device)
        )
        self.hyper = hyperparameters(config, self.device)
        self.rng = torch.Generator().manual_seed(config.seed)
        self.algorithm, self.loss = build(config, distribution)
        meta, state = self.algorithm.init(self.hyper, self.rng)
        self.meta: Params = {name: value.to(self.device) for name, value in meta.items()}
        self.state: Params = {name: value.to(self.device) for name, value in state.items()}
        self.outer = OuterLoop(self.meta, config.hyper)
        self.stream = EpisodeStream(distribution, config.seed)
        self.seen = 0
        self.train_seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.pending: list[tuple[Episodes, Diagnostics, float, int]] = []
        reset_peak(self.device)
        if resume is not None:
            self._restore(resume)

    def learner(self) -> Learner:
        """Return what has been learned so far."""
        return Learner(
            self.algorithm,
            self.loss,
            self.hyper,
            self.meta,
            self.state,
            evaluation_steps(self.config),
        )

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
            self._train_on(self.stream.take(self.seen, min(batch, boundary - self.seen)))
            now = time.perf_counter()
            self.train_seconds += now - began
            if now - last >= REPORT_SECONDS or self.seen == boundary:
                last = now
                records = self._take_records()
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

    def _train_on(self, episodes: Episodes) -> None:
        began = time.perf_counter()
        gradients, self.state, diagnostics = engine.meta_gradients(
            self.algorithm,
            self.formulation,
            self.meta,
            self.state,
            self.hyper,
            episodes.to(self.device),
            self.rng,
        )
        self.outer.step(gradients, self.seen / self.config.episodes)
        self.seen += len(episodes)
        seconds = (time.perf_counter() - began) / len(episodes)
        self.pending.append((episodes, diagnostics, seconds, self.seen))

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
        return evaluate(
            self.learner(),
            self.distribution,
            self.config.problem,
            split,
            self.formulation,
            device=self.device,
            episodes_seen=self.seen,
        )

    def _take_records(self) -> EpisodeRecords:
        rows = [_training_rows(*batch) for batch in self.pending]
        self.pending = []
        return concatenate(rows)

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
        tensors["rng"] = self.rng.get_state()
        state = {
            "episodes": self.seen,
            "train_seconds": self.train_seconds,
            "history": list(self.history),
            "formulation": self.formulation.to_dict(),
        }
        return Snapshot(tensors, state)

    def _restore(self, snapshot: Snapshot) -> None:
        for prefix, values in ((META, self.meta), (STATE, self.state)):
            for name, value in values.items():
                value.copy_(snapshot.tensors[prefix + name])
        self.outer.restore(snapshot.tensors)
        self.rng.set_state(snapshot.tensors["rng"])
        self.seen = int(snapshot.state["episodes"])
        self.train_seconds = float(snapshot.state["train_seconds"])
        self.history = list(snapshot.state["history"])
        self.formulation = engine.Formulation.from_dict(snapshot.state["formulation"])


def _training_rows(
    episodes: Episodes, diagnostics: Diagnostics, seconds: float, seen: int
) -> EpisodeRecords:
    count = len(episodes)
    missing = np.full(count, np.nan)
    accuracy = diagnostics.get("query_accuracy")
    return EpisodeRecords(
        split=np.full(count, "train", dtype="U10"),
        index=episodes.index.numpy(),
        episodes_seen=np.full(count, seen, dtype=np.int64),
        seconds=np.full(count, seconds),
        classes=episodes.classes.numpy(),
        loss_before=missing,
        loss_after=diagnostics["query_loss"].double().cpu().numpy(),
        accuracy_before=missing,
        accuracy_after=missing if accuracy is None else accuracy.double().cpu().numpy(),
        loss_curve=np.empty((count, 0)),
        accuracy_curve=np.empty((count, 0)),
    )
