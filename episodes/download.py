"""Downloading a file so that it is either absent or whole."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from episodes.errors import DataError

_CHUNK_BYTES = 1 << 16
_TIMEOUT_SECONDS = 30
_MOST_BYTES = 1 << 25


def download(url: str, md5: str, path: Path, most: int = _MOST_BYTES) -> None:
    """Download `url` to `path` unless the file is there already.

    most: bytes after which the transfer ends, whatever the server goes on to send.

    Safe with several processes at once: one downloads, the others wait and find the file. The
    bytes go to a temporary file beside `path`, which takes its name once the MD5 is right.
    Raises DataError when the transfer fails or the content is not the expected one; nothing is
    left at `path` then.
    """
    import pooch
    from filelock import FileLock

    pooch.get_logger().setLevel("WARNING")  # the progress lines below say the same
    try:
        with FileLock(path.with_name(path.name + ".lock")):
            if not path.exists():
                pooch.retrieve(
                    url,
                    known_hash=f"md5:{md5}",
                    fname=path.name,
                    path=path.parent,
                    downloader=functools.partial(_transfer, most=most),
                )
    # What requests raises is an OSError, pooch's complaint about a wrong hash a ValueError.
    except (OSError, ValueError) as error:
        raise DataError(
            f"could not download {url}: {error}\nRun again, or put the file at {path} yourself."
        ) from error


def _transfer(url: str, file: str, _: Any, *, most: int) -> None:
    """Transfer over HTTP with a line on stderr at every tenth, as pooch's downloaders are called.

    pooch's own leaves the connection open after a failure.
    """
    import requests

    with (
        requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as response,
        open(file, "wb") as output,
    ):
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0))
        next_percent = 0
        for chunk in response.iter_content(_CHUNK_BYTES):
            if output.tell() + len(chunk) > most:
                raise ValueError(f"more than {most} bytes")
            output.write(chunk)
            percent = 100 * output.tell() // total if total else 0
            if percent >= next_percent:
                size = f"{total / 1e6:.1f} MB"
                print(f"downloading {url}: {percent} % of {size}", file=sys.stderr, flush=True)
                next_percent = percent - percent % 10 + 10
