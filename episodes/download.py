"""Downloading a file so that it is either absent or whole."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from episodes.errors import DataError

if TYPE_CHECKING:
    from requests import Response

_CHUNK_BYTES = 1 << 16
_STEP_BYTES = 10_000_000
_TIMEOUT_SECONDS = 30
_MOST_BYTES = 1 << 25
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def download(url: str, md5: str, path: Path, most: int = _MOST_BYTES) -> None:
    """Download `url` to `path` unless the file is there already.

    most: bytes after which the transfer ends, whatever the server goes on to send.

    Safe with several processes at once: one downloads, the others wait and find the file. The
    bytes go to `path` with ".part" at its end, which takes its name once the MD5 is right. The
    part that an interrupted transfer leaves is continued by the next one.
    Raises DataError when the transfer fails or the content is not the expected one; nothing is
    left at `path` then.
    """
    from filelock import FileLock

    part = path.with_name(f"{path.name}.part")
    try:
        with FileLock(path.with_name(f"{path.name}.lock")):
            if path.exists():
                return
            # A part may be of what was published before: then the whole is fetched once more.
            for resumed in (True, False) if part.exists() else (False,):
                _transfer(url, part, most, resumed)
                if _md5(part) == md5:
                    part.replace(path)
                    return
                part.unlink()
            raise ValueError(f"its MD5 does not match the known hash {md5}")
    # What requests raises is an OSError.
    except (OSError, ValueError) as error:
        raise DataError(
            f"could not download {url}: {error}\nRun again, or put the file at {path} yourself."
        ) from error


def _transfer(url: str, part: Path, most: int, resumed: bool) -> None:
    """Fetch a file, or the rest of it, with a line on stderr at every tenth or every 10 MB.

    What has come stays in `part` when the connection breaks, and only then.
    """
    import requests

    have = part.stat().st_size if resumed else 0
    # Otherwise a server may label what is packed as encoded, and it would come unpacked.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS, headers=headers) as response:
        if have and response.status_code == _RANGE_NOT_SATISFIABLE:
            return  # The part is as long as the file; whether it is the file, its hash tells.
        response.raise_for_status()
        if response.status_code != _PARTIAL_CONTENT:
            have = 0
        try:
            _receive(response, url, part, have, most)
        except ValueError:
            part.unlink()
            raise


def _receive(response: Response, url: str, part: Path, have: int, most: int) -> None:
    """Write what comes behind the first `have` bytes of `part`."""
    with part.open("r+b" if have else "wb") as output:
        output.seek(have)
        output.truncate()
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        if total is not None and total > most:  # Told before any of it has come.
            raise ValueError(f"{total} bytes, at most {most} expected")
        progress = _Progress(url, total)
        for chunk in response.iter_content(_CHUNK_BYTES):
            if output.tell() + len(chunk) > most:
                raise ValueError(f"more than {most} bytes")
            output.write(chunk)
            progress.show(output.tell())
        # It may be given its name next, which must not outlive its content in a power cut.
        output.flush()
        os.fsync(output.fileno())


class _Progress:
    """Says on stderr how far a transfer is."""

    def __init__(self, url: str, total: int | None) -> None:
        """total: bytes of the whole file; None where the server does not say."""
        self._url = url
        self._total = total or 0
        self._next = 0 if self._total else 1
        if not self._total:
            self._say(", of unknown size")

    def show(self, have: int) -> None:
        """Print a line where another tenth, or another 10 MB, has come."""
        tenths = 10 * have // self._total if self._total else have // _STEP_BYTES
        if tenths < self._next:
            return
        if self._total:
            percent = 100 * have // self._total
            self._say(f": {percent} % of {self._total / 1e6:.1f} MB")
        else:
            self._say(f": {tenths * _STEP_BYTES / 1e6:.0f} MB")
        self._next = tenths + 1

    def _say(self, what: str) -> None:
        print(f"downloading {self._url}{what}", file=sys.stderr, flush=True)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
