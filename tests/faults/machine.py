"""What a machine may not allow."""

from __future__ import annotations

import subprocess


class NotAllowedError(Exception):
    """This machine does not allow, or does not have, what makes a fault happen."""


def allowed(*command: str) -> None:
    """Run a command of the system's. Raises NotAllowedError where it is refused or missing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotAllowedError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise NotAllowedError(f"{' '.join(command)}: {done.stderr.strip()}")
