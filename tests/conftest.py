"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that METASWEEP_DATA names."""
    folder = Path(os.environ.get("METASWEEP_DATA", "~/.cache/metasweep")).expanduser().resolve()
    if not (folder / "omniglot").is_dir():
        reason = f"no real data in {folder}: set METASWEEP_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
