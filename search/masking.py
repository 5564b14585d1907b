"""Passwords in addresses and in the texts of errors: finding them, and showing these without."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

MASKED = "***"

# Up to the last @: a password that holds one itself, though it should be written %40, ends there.
_BEFORE_HOST = re.compile(r"(://[^\s:/@]*:)(\S*)(?=@)")
_WHOLE = re.compile(r"(\A[\w+.-]+://[^\s:/@]*:)(.*)(?=@)", re.DOTALL)
"""Of a text that is an address and nothing else, whose password may hold spaces."""

_PARAMETER = re.compile(
    r"([?&;][\w.-]*(?:password|passwd|pwd|secret|token|credential|key|signature|sig)=)([^\s&;#'\"]*)",
    re.IGNORECASE,
)

_ASSIGNED = re.compile(
    r"""(\b\w*(?:password|passwd|pwd|secret|token)(?:\s*=(?!=)|['"]\s*[:=])\s*)"""
    r"""('[^']*'|"[^"]*"|[^\s'",;)}\]]+)""",
    re.IGNORECASE,
)
"""As PostgreSQL's library, Python and JSON write it."""
_AUTHORIZED = re.compile(
    r"""(\bauthorization['"]?\s*:\s*['"]?(?:\w+\s+)?)([\w.~+/-]{8,}=*)""", re.I
)

_SECRET_VARIABLE = re.compile(
    r"(TOKEN|PASSWORD|PASSWD|SECRET|(ACCESS|API|SECRET)_KEY|CREDENTIALS?)$"
)
_LEAST_CHARACTERS = 8
"""Of a secret that is looked for wherever it may stand; shorter ones are words."""

_WITHIN = (_BEFORE_HOST, _PARAMETER)
_PATTERNS = (_WHOLE, *_WITHIN)


def masked(text: str) -> str:
    """Return a text whose addresses hold no password: before the host, or as a parameter."""
    return masked_within(_masked(text, _WHOLE))


def masked_within(text: str) -> str:
    """Do so with a text of many words or lines, which is no address though it may begin with one.

    In it an address ends at the first space."""
    for pattern in _WITHIN:
        text = _masked(text, pattern)
    return text


def without_secrets(text: str) -> str:
    """Return the text of an error of any origin without what is known to be secret.

    That are passwords in addresses, after `password=` and in headers, and the values of environment
    variables whose names call them a token, a password or a secret.
    """
    text = masked_within(text)
    for pattern in (_ASSIGNED, _AUTHORIZED):
        text = _masked(text, pattern)
    named = (value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name.upper()))
    for value in sorted(named, key=len, reverse=True):
        if len(value) >= _LEAST_CHARACTERS:
            text = text.replace(value, MASKED)
    return text


def _masked(text: str, pattern: re.Pattern[str]) -> str:
    return pattern.sub(lambda found: found[1] + MASKED, text)


def secrets_of(url: str) -> set[str]:
    """Return the passwords in an address, as they are written there and as they are meant."""
    found = {match[2] for pattern in _PATTERNS for match in pattern.finditer(url)}
    return {form for secret in found for form in (secret, unquote(secret)) if form}


def mask(text: str, url: str) -> str:
    """Return `text` without the passwords that `url` may hold, as written or decoded."""
    text = masked(text)
    # The longer first: the decoded form may be part of the one in the address.
    for secret in sorted(secrets_of(url), key=len, reverse=True):
        if len(secret) > 3:
            text = text.replace(secret, MASKED)
    return text
