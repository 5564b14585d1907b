"""Errors a user can mend: printed as one message, without a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Wrong usage, specification or state. `exit_code` is what the command line exits with."""

    exit_code = 2


class FailedError(UserError):
    """The request was right but could not be carried out (a store is down, nothing finished)."""

    exit_code = 1


class StoreError(FailedError):
    """The MLflow store does not answer; what it should hold is on disk, and can be sent later."""
