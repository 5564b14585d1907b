"""Drawing texts as they are: in names and sentences that users give, a "$" begins no formula."""

from __future__ import annotations

from matplotlib import rc_context

literally = rc_context({"text.parse_math": False})
"""Decorates a function that makes a figure, or draws one: some labels are made only then."""
