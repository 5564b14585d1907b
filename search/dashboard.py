"""The address of a Ray cluster's dashboard, through which jobs are submitted."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from search.errors import FailedError, UserError

ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 20.0
EXAMPLE = "http://localhost:8265"
ASKS_FOR_TOKEN = "authentication token"
"""What Ray says of a missing token, and of a wrong one."""
ADVICE = (
    "give the port of the head's dashboard, 8265 unless chosen otherwise, and open a tunnel where "
    "only the cluster reaches it, such as: ray dashboard cluster.yaml"
)


def resolve_address(given: str | None) -> str:
    """Return the web address of a dashboard: the one given, or the one that `ray job` would use.

    Raises UserError where there is none, it is no web address, or it holds a password.
    """
    name, address = "--address", given or ""
    if not address:
        name = next((name for name in ADDRESSES if _is_set(name)), "")
        if not name:
            raise UserError(
                "--address: missing: give the address of the cluster's dashboard, such as "
                f"{EXAMPLE}, or set {ADDRESSES[0]}"
            )
        address = os.environ[name]
    if "@" in address:
        raise UserError(f"{name}: must hold no user name and no password")
    full = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(full)
        host, _ = parts.hostname, parts.port
    except ValueError:  # Such as a port that is no number.
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise UserError(
            f"{name}: {address}: must be the web address of the cluster's dashboard, such as "
            f"{EXAMPLE}"
        )
    return full.rstrip("/")


def knock(address: str) -> None:
    """Return within seconds where a Ray dashboard answers, even if only to ask for a token.

    Ray's own client waits without end. Raises FailedError that says what is there instead.
    """
    import requests

    try:
        answer = requests.get(f"{address}/api/version", timeout=(CONNECT_SECONDS, ANSWER_SECONDS))
    except requests.exceptions.Timeout:
        raise FailedError(f"{address}: no answer in time; {ADVICE}") from None
    except requests.exceptions.SSLError:
        raise FailedError(f"{address}: TLS fails; see whether it is http:// or https://") from None
    except requests.exceptions.ProxyError:
        raise FailedError(
            f"{address}: the proxy that HTTP_PROXY or HTTPS_PROXY names cannot be reached; name "
            "the cluster's host in NO_PROXY"
        ) from None
    except requests.exceptions.RequestException as error:
        raise FailedError(f"{address}: {_reason(str(error))}") from None
    if answer.status_code in (401, 403) and ASKS_FOR_TOKEN not in answer.text.lower():
        raise FailedError(
            f"{address}: something else than Ray refuses ({answer.status_code}), perhaps a proxy: "
            "name the cluster's host in NO_PROXY"
        )
    if answer.status_code not in (401, 403) and "ray_version" not in answer.text:
        raise FailedError(f"{address}: is not a Ray dashboard; {ADVICE}")


def _is_set(name: str) -> bool:
    """Whether a variable names a dashboard; RAY_ADDRESS may name another port of the head."""
    address = os.environ.get(name, "")
    return bool(address) and (name == ADDRESSES[0] or address.startswith(("http://", "https://")))


def _reason(text: str) -> str:
    if "refused" in text:
        return f"nobody listens there; {ADVICE}"
    if "resolve" in text:
        return "its host name is not known"
    if "aborted" in text:  # The other ports of a head speak gRPC.
        return f"is not a Ray dashboard; {ADVICE}"
    return "cannot be reached"
