"""Errors about data that a user can mend."""

from __future__ import annotations


class DataError(ValueError):
    """Data are missing, corrupt, or too small for what was asked; the message says what to do."""
