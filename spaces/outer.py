"""The outer loop's part of every algorithm's space."""

from __future__ import annotations

from spaces.parameter import Choice, Fixed, Float, Int, Parameter, Value

OUTER_ADAM: dict[str, Parameter] = {
    "outer_lr": Float(1e-4, 1e-2, log=True),
    "outer_optimizer": Fixed("adam"),
    "outer_schedule": Choice(("constant", "linear", "cosine")),
    "weight_decay": Fixed(0.0),
    "meta_batch_size": Int(4, 64, log=True),
    "clip_norm": Choice((0.0, 1.0, 10.0)),
}
OUTER_ADAM_DEFAULTS: dict[str, Value] = {
    "outer_lr": 1e-3,
    "outer_optimizer": "adam",
    "outer_schedule": "constant",
    "weight_decay": 0.0,
    "clip_norm": 0.0,
}
INNER: dict[str, Parameter] = {
    "inner_lr": Float(1e-3, 1.0, log=True),
    "inner_steps": Int(1, 5),
    "inner_steps_evaluation": Int(1, 10),
}


def published(
    inner_lr: float, steps: int, steps_evaluation: int, meta_batch_size: int, **more: Value
) -> dict[str, Value]:
    """Return defaults of an algorithm whose outer loop is Adam at 0.001, unless `more` says."""
    return {
        "inner_lr": inner_lr,
        "inner_steps": steps,
        "inner_steps_evaluation": steps_evaluation,
        "meta_batch_size": meta_batch_size,
        **OUTER_ADAM_DEFAULTS,
        **more,
    }
