"""How exactly a GPU multiplies 32-bit numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

Precision = Literal["float32", "tf32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let matrix products and convolutions on a GPU round their inputs to TF32, or not.

    TF32 keeps 10 of the 23 bits behind the point and adds up in 32-bit numbers; tensor cores run it
    several times as fast. By default torch rounds for convolutions and not for products.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    _round(*[precision == "tf32"] * 2)
    try:
        yield
    finally:
        _round(*before)


def _round(products: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions
