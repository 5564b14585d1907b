"""The files of labels of SBD: Hariharan et al. 2011, in MATLAB's format."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

from episodes.pictures import ImageError

MOST_BYTES = 1 << 20
"""Of a file: SBD's have a few thousand, and what is packed may be a thousand times larger."""


def read_labels(content: bytes) -> np.ndarray:
    """Return the labels of the pixels, (height, width) uint8: the field `Segmentation` of `GTcls`.

    Raises ImageError for what is no such file.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if len(content) > MOST_BYTES:
        raise ImageError(f"has {len(content)} bytes, more than labels need ({MOST_BYTES})")
    broken = (MatReadError, ValueError, TypeError, IndexError, KeyError, OSError, EOFError)
    try:
        found = loadmat(io.BytesIO(content), variable_names=["GTcls"])
        labels = np.asarray(found["GTcls"][0, 0]["Segmentation"])
    # NotImplementedError: a version of the format that is not read; the others: damage.
    except (*broken, NotImplementedError, zlib.error, struct.error, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(
            f"has no labels GTcls.Segmentation in MATLAB's format ({reason})"
        ) from error
    if labels.ndim != 2 or labels.dtype.kind not in "ui" or not labels.size:
        raise ImageError(f"has labels of shape {labels.shape} and type {labels.dtype}")
    if labels.min() < 0 or labels.max() > 255:
        raise ImageError(f"has labels from {labels.min()} to {labels.max()}")
    return labels.astype(np.uint8)
