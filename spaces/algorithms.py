"""The space of each algorithm, beside the defaults that its paper publishes.

Where a paper has no sinusoids or no Omniglot, the defaults of that kind are MAML's. Of segmentation
Hendryx et al. 2019, arXiv:1912.06290, publish FOMAML and Reptile, for a network that was trained on
ImageNet before: five episodes to a batch, and up to 59 small steps. The defaults here are for a
U-Net that starts from nothing, and were found on `camvid-subset`: fewer and larger steps.
"""

from __future__ import annotations

from episodes.kinds import KINDS
from spaces.composed import composed_space
from spaces.outer import INNER, OUTER_ADAM, OUTER_ADAM_DEFAULTS, published
from spaces.parameter import Choice, Fixed, Float, Int, Value
from spaces.space import Space

_SENTENCES: dict[str, Value] = {"outer_lr": 3e-3, "outer_schedule": "linear", "clip_norm": 1.0}
"""Of translation, beside the inner rates below: what was found to learn here within minutes."""

_NO_OUTER_LOOP: dict[str, Value] = {
    **OUTER_ADAM_DEFAULTS,
    "outer_lr": 0.0,
    "outer_optimizer": "sgd",
    "meta_batch_size": 16,
}

MAML = Space(
    {**INNER, **OUTER_ADAM},
    {
        "classification": published(0.4, 1, 3, 32),
        "regression": published(0.01, 1, 5, 25),
        "segmentation": published(0.5, 3, 10, 4),
        "translation": published(0.03, 2, 5, 4, **_SENTENCES),
    },
)
"""Finn et al. 2017, arXiv:1703.03400: appendix A.1 (Omniglot, 5 ways) and section 5.1 (sinusoids,
trained with one step and judged after up to ten). The batch of 25 episodes is their code's."""

FOMAML = MAML
"""The same paper's first-order approximation, at the same settings."""

ANIL = MAML
"""Raghu et al. 2020, arXiv:1909.09157, compare ANIL with MAML at MAML's settings."""

BOIL = Space(
    MAML.parameters,
    {
        "classification": published(0.5, 1, 1, 4),
        "regression": published(0.01, 1, 5, 25),
        "segmentation": published(0.5, 3, 10, 4),
        "translation": published(0.03, 2, 5, 4, **_SENTENCES),
    },
)
"""Oh et al. 2021, arXiv:2008.08882, and their code: one step of 0.5 on the body, 4 episodes."""

META_SGD = Space(
    {**INNER, "inner_lr": Float(1e-3, 0.5, log=True), **OUTER_ADAM},
    {
        "classification": published(0.05, 1, 1, 32),
        "regression": published(0.01, 1, 1, 4),
        "segmentation": published(0.5, 3, 10, 4),
        "translation": published(0.03, 2, 5, 4, **_SENTENCES),
    },
)
"""Li et al. 2017, arXiv:1707.09835, section 4: one step. There every rate starts at its own draw
from [0.005, 0.1]; `inner_lr` starts all of them at one value from that interval."""

REPTILE = Space(
    {
        "inner_lr": Float(1e-3, 0.5, log=True),
        "inner_steps": Int(2, 10),
        "inner_steps_evaluation": Int(1, 50, log=True),
        **OUTER_ADAM,
        "outer_lr": Float(0.05, 1.0, log=True),
        "outer_optimizer": Fixed("sgd"),
        "meta_batch_size": Int(1, 32, log=True),
        "clip_norm": Fixed(0.0),
    },
    {
        "classification": published(
            0.05, 5, 50, 5, outer_lr=1.0, outer_optimizer="sgd", outer_schedule="linear"
        ),
        "regression": published(
            0.02, 5, 32, 5, outer_lr=0.5, outer_optimizer="sgd", outer_schedule="linear"
        ),
        "segmentation": published(
            0.5, 5, 10, 5, outer_lr=1.0, outer_optimizer="sgd", outer_schedule="linear"
        ),
        "translation": published(
            0.1, 3, 3, 4, outer_lr=1.0, outer_optimizer="sgd", outer_schedule="linear"
        ),
    },
)
"""Nichol et al. 2018, arXiv:1803.02999, table of Omniglot settings for 5 ways, except `inner_lr`:
their 0.001 is for Adam, and this inner loop is plain gradient descent. Sinusoids follow the code
published with the paper, with batches of 5 episodes and 5 times its outer rate of 0.1 in place of
single episodes."""

MAML_PLUS_PLUS = Space(
    {
        **INNER,
        "inner_steps": Int(2, 5),
        "multi_step_share": Float(0.05, 1.0, log=True),
        "first_order_share": Choice((0.0, 1 / 3)),
        **OUTER_ADAM,
    },
    {
        "classification": published(
            0.1, 5, 5, 8, multi_step_share=0.1, first_order_share=1 / 3, outer_schedule="cosine"
        ),
        "regression": published(
            0.01, 5, 5, 25, multi_step_share=0.1, first_order_share=1 / 3, outer_schedule="cosine"
        ),
        "segmentation": published(
            0.5, 3, 10, 4, multi_step_share=0.1, first_order_share=1 / 3, outer_schedule="cosine"
        ),
    },
)
"""Antoniou et al. 2019, arXiv:1810.09502, and the Omniglot configurations of their code: 5 steps of
0.1, batches of 8, 10 of 100 epochs of multi-step loss. The paper's first 50 of 150 epochs are of
first order; the configurations of the code leave that out."""

IMAML = Space(
    {
        **INNER,
        "inner_steps": Int(4, 16, log=True),
        "inner_steps_evaluation": Int(1, 32, log=True),
        "proximal_strength": Float(0.1, 10.0, log=True),
        "cg_steps": Int(1, 10),
        **OUTER_ADAM,
    },
    {
        "classification": published(0.1, 16, 16, 32, proximal_strength=2.0, cg_steps=5),
        "regression": published(0.02, 16, 16, 25, proximal_strength=2.0, cg_steps=5),
        "segmentation": published(0.5, 8, 16, 4, proximal_strength=2.0, cg_steps=5),
    },
)
"""Rajeswaran et al. 2019, arXiv:1909.04630, table 2 (Omniglot, 5 ways): 16 steps, lambda 2, 5 steps
of conjugate gradients; `inner_lr` and the batch are those of their code."""

CAVIA = Space(
    {
        **INNER,
        "inner_lr": Float(0.01, 10.0, log=True),
        "context_size": Int(2, 100, log=True),
        **OUTER_ADAM,
    },
    {
        "classification": published(1.0, 2, 2, 16, context_size=100),
        "regression": published(1.0, 1, 1, 25, context_size=5),
        "segmentation": published(1.0, 3, 10, 4, context_size=100),
    },
)
"""Zintgraf et al. 2019, arXiv:1810.03642, and their code: mini-ImageNet and sinusoids."""

T_NET = Space(
    MAML.parameters,
    {
        "classification": published(0.4, 1, 3, 32),
        "regression": published(0.01, 1, 5, 4),
        "segmentation": published(0.5, 3, 10, 4),
    },
    ungrouped=True,
)
"""Lee and Choi 2018, arXiv:1801.05558, and their code, which tries 0.01, 0.04 and 0.1 on sinusoids
and judges after up to ten steps."""

MT_NET = T_NET
"""The same paper, at the same settings."""

META_CURVATURE = Space(
    MAML.parameters,
    {
        "classification": published(0.4, 1, 3, 32),
        "regression": published(0.001, 1, 5, 25),
        "segmentation": published(0.5, 3, 10, 4),
    },
)
"""Park and Oliva 2019, arXiv:1902.03356, and the code that its repository points to: MAML's
settings, at the lower default rate of that code on sinusoids."""

ALFA = Space(
    {
        **INNER,
        "inner_lr": Float(1e-3, 0.5, log=True),
        "inner_weight_decay": Float(1e-5, 1e-2, log=True),
        **OUTER_ADAM,
        "meta_batch_size": Int(2, 64, log=True),
    },
    {
        "classification": published(0.01, 5, 5, 2, inner_weight_decay=5e-4),
        "regression": published(0.01, 5, 5, 25, inner_weight_decay=5e-4),
        "segmentation": published(0.1, 3, 10, 4, inner_weight_decay=5e-4),
    },
)
"""Baik et al. 2020, arXiv:2011.00209, and the mini-ImageNet configuration of their code."""

PROTO_MAML = Space(
    {
        **INNER,
        **OUTER_ADAM,
        "weight_decay": Choice((0.0, 1e-4)),
        "meta_batch_size": Int(1, 64, log=True),
    },
    {
        "classification": published(
            0.01, 5, 5, 1, outer_lr=1e-4, outer_optimizer="adam", weight_decay=1e-4
        ),
    },
)
"""Triantafillou et al. 2020, arXiv:1903.03096, and their code's settings for mini-ImageNet with one
shot; the code's outer rate falls by half every 5,000 episodes."""

PROTOTYPICAL = Space(
    OUTER_ADAM,
    {"classification": {**OUTER_ADAM_DEFAULTS, "meta_batch_size": 4}},
)
"""Snell et al. 2017, arXiv:1703.05175, section 3.1: Adam at 0.001, which their code halves every
2,000 episodes. There every batch is one episode of 60 ways; here as many ways as are judged on, and
4 episodes in place of one."""

MATCHING = Space(
    {"attention_scale": Float(1.0, 100.0, log=True), **OUTER_ADAM},
    {"classification": {"attention_scale": 1.0, **OUTER_ADAM_DEFAULTS, "meta_batch_size": 4}},
)
"""Vinyals et al. 2016, arXiv:1606.04080: a softmax over cosines, not scaled. The outer loop is that
of prototypical networks; the paper does not say its own."""

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
        "segmentation": {
            "inner_lr": 0.5,
            "inner_steps_evaluation": 20,
            "meta_batch_size": 4,
            **OUTER_ADAM_DEFAULTS,
        },
        "translation": {
            "inner_lr": 0.03,
            "inner_steps_evaluation": 5,
            "meta_batch_size": 4,
            **OUTER_ADAM_DEFAULTS,
            **_SENTENCES,
        },
    },
)
"""Chen et al. 2019, arXiv:1904.04232, section 4.2: Adam at 0.001, then 100 steps on the new head at
0.01. Their batch of 16 images is smaller than any batch of episodes. Regression follows the
pretrained network of Finn et al. 2017, section 5.1, at MAML's inner rate."""

SCRATCH = Space(
    {
        "inner_lr": Float(1e-4, 0.1, log=True),
        "inner_steps_evaluation": Int(10, 300, log=True),
        "inner_momentum": Fixed(0.9),
        "inner_decay": Fixed(0.999),
        **{name: Fixed(value) for name, value in _NO_OUTER_LOOP.items()},
    },
    {
        kind: {
            "inner_lr": 1e-3,
            "inner_steps_evaluation": 30,
            "inner_momentum": 0.9,
            "inner_decay": 0.999,
            **_NO_OUTER_LOOP,
        }
        for kind in KINDS
    },
)
"""Kingma and Ba 2015, arXiv:1412.6980: the rates that they recommend. Nothing moves in the outer
loop. With more steps than 30 the few examples are learned by heart."""

ALGORITHM_SPACES: dict[str, Space] = {
    "maml": MAML,
    "fomaml": FOMAML,
    "reptile": REPTILE,
    "anil": ANIL,
    "boil": BOIL,
    "meta-sgd": META_SGD,
    "mamlpp": MAML_PLUS_PLUS,
    "imaml": IMAML,
    "cavia": CAVIA,
    "t-net": T_NET,
    "mt-net": MT_NET,
    "meta-curvature": META_CURVATURE,
    "alfa": ALFA,
    "proto-maml": PROTO_MAML,
    "prototypical": PROTOTYPICAL,
    "matching": MATCHING,
    "pretrain": PRETRAIN,
    "scratch": SCRATCH,
}
COMPOSED = composed_space(ALGORITHM_SPACES)
ALGORITHM_SPACES["composed"] = COMPOSED
