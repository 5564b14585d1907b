"""The space of each algorithm, beside the defaults that its paper publishes."""

from __future__ import annotations

from spaces.parameter import Choice, Fixed, Float, Int, Parameter, Value
from spaces.space import Space

OUTER_ADAM: dict[str, Parameter] = {
    "outer_lr": Float(1e-4, 1e-2, log=True),
    "outer_optimizer": Fixed("adam"),
    "outer_schedule": Choice(("constant", "linear", "cosine")),
    "meta_batch_size": Int(4, 64, log=True),
    "clip_norm": Choice((0.0, 1.0, 10.0)),
}
OUTER_ADAM_DEFAULTS: dict[str, Value] = {
    "outer_lr": 1e-3,
    "outer_optimizer": "adam",
    "outer_schedule": "constant",
    "clip_norm": 0.0,
}

MAML = Space(
    {
        "inner_lr": Float(1e-3, 1.0, log=True),
        "inner_steps": Int(1, 5),
        "inner_steps_evaluation": Int(1, 10),
        **OUTER_ADAM,
    },
    {
        "classification": {
            "inner_lr": 0.4,
            "inner_steps": 1,
            "inner_steps_evaluation": 3,
            "meta_batch_size": 32,
            **OUTER_ADAM_DEFAULTS,
        },
        "regression": {
            "inner_lr": 0.01,
            "inner_steps": 1,
            "inner_steps_evaluation": 5,
            "meta_batch_size": 25,
            **OUTER_ADAM_DEFAULTS,
        },
    },
)
"""Finn et al. 2017, arXiv:1703.03400: appendix A.1 (Omniglot, 5 ways) and section 5.1 (sinusoids,
trained with one step and judged after up to ten). The batch of 25 episodes is their code's."""

FOMAML = MAML
"""The same paper's first-order approximation, at the same settings."""

ANIL = MAML
"""Raghu et al. 2020, arXiv:1909.09157, compare ANIL with MAML at MAML's settings."""

META_SGD = Space(
    {
        "inner_lr": Float(1e-3, 0.5, log=True),
        "inner_steps": Int(1, 5),
        "inner_steps_evaluation": Int(1, 10),
        **OUTER_ADAM,
    },
    {
        "classification": {
            "inner_lr": 0.05,
            "inner_steps": 1,
            "inner_steps_evaluation": 1,
            "meta_batch_size": 32,
            **OUTER_ADAM_DEFAULTS,
        },
        "regression": {
            "inner_lr": 0.01,
            "inner_steps": 1,
            "inner_steps_evaluation": 1,
            "meta_batch_size": 4,
            **OUTER_ADAM_DEFAULTS,
        },
    },
)
"""Li et al. 2017, arXiv:1707.09835, section 4: one step. There every rate starts at its own draw
from [0.005, 0.1]; `inner_lr` starts all of them at one value from that interval."""

REPTILE = Space(
    {
        "inner_lr": Float(1e-3, 0.5, log=True),
        "inner_steps": Int(2, 10),
        "inner_steps_evaluation": Int(1, 50, log=True),
        "outer_lr": Float(0.05, 1.0, log=True),
        "outer_optimizer": Fixed("sgd"),
        "outer_schedule": Choice(("constant", "linear", "cosine")),
        "meta_batch_size": Int(1, 32, log=True),
        "clip_norm": Fixed(0.0),
    },
    {
        "classification": {
            "inner_lr": 0.05,
            "inner_steps": 5,
            "inner_steps_evaluation": 50,
            "outer_lr": 1.0,
            "outer_optimizer": "sgd",
            "outer_schedule": "linear",
            "meta_batch_size": 5,
            "clip_norm": 0.0,
        },
        "regression": {
            "inner_lr": 0.02,
            "inner_steps": 5,
            "inner_steps_evaluation": 32,
            "outer_lr": 0.5,
            "outer_optimizer": "sgd",
            "outer_schedule": "linear",
            "meta_batch_size": 5,
            "clip_norm": 0.0,
        },
    },
)
"""Nichol et al. 2018, arXiv:1803.02999, table of Omniglot settings for 5 ways, except `inner_lr`:
their 0.001 is for Adam, and this inner loop is plain gradient descent. Sinusoids follow the code
published with the paper, with batches of 5 episodes and 5 times its outer rate of 0.1 in place of
single episodes."""

PRETRAIN = Space(
    {
        "inner_lr": Float(1e-3, 1.0, log=True),
        "inner_steps_evaluation": Int(1, 100, log=True),
        **OUTER_ADAM,
    },
    {
        "classification": {
            "inner_lr": 0.01,
            "inner_steps_evaluation": 100,
            "meta_batch_size": 4,
            **OUTER_ADAM_DEFAULTS,
        },
        "regression": {
            "inner_lr": 0.01,
            "inner_steps_evaluation": 10,
            "meta_batch_size": 25,
            **OUTER_ADAM_DEFAULTS,
        },
    },
)
"""Chen et al. 2019, arXiv:1904.04232, section 4.2: Adam at 0.001, then 100 steps on the new head at
0.01. Their batch of 16 images is smaller than any batch of episodes. Regression follows the
pretrained network of Finn et al. 2017, section 5.1, at MAML's inner rate."""

ALGORITHM_SPACES: dict[str, Space] = {
    "maml": MAML,
    "fomaml": FOMAML,
    "reptile": REPTILE,
    "anil": ANIL,
    "meta-sgd": META_SGD,
    "pretrain": PRETRAIN,
}
