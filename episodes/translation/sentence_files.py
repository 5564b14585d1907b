"""Files of sentence pairs: an English sentence, a tab, and the same in another language."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from episodes.archives import Archive, locate
from episodes.episode import SPLITS, Split
from episodes.errors import DataError
from episodes.folders import is_folder

Pair = tuple[str, str]
"""A sentence in another language, and in English."""

Languages = Mapping[Split, Sequence[str]]

SUFFIXES = (".txt.gz", ".txt")
TATOEBA = "mt/tatoeba"
MOST_BYTES = 1 << 30
SHOWN = 60
_ADVICE = (
    "https://www.manythings.org/anki/ has the sentence pairs of Tatoeba: of language XXX, XXX.txt "
    "in XXX-eng.zip; put it into the folder " + TATOEBA
)


def tatoeba_archive(language: str) -> Archive:
    """Return where the sentence pairs of a language are looked for in a data folder."""
    zipped, plain = (
        Archive(TATOEBA, language + suffix, None, advice=_ADVICE) for suffix in SUFFIXES
    )
    return Archive(TATOEBA, zipped.file, None, instead=(plain,), advice=_ADVICE)


def tatoeba_files(languages: Languages, data: str | Path | None) -> dict[str, Path]:
    """Return the file of each language in the data folder. Raises DataError for a missing one."""
    _check_languages(languages)
    return {
        language: locate(tatoeba_archive(language), data)[1]
        for split in SPLITS
        for language in languages[split]
    }


def files_in(folder: str | Path, languages: Languages) -> dict[str, Path]:
    """Return the file of each language in a user's folder.

    Raises DataError for a language in two splits, for one that has no file, and for a folder that
    cannot be read.
    """
    _check_languages(languages)
    folder = Path(folder)
    if not is_folder(folder, "options.folder:"):
        raise DataError(f"options.folder: {folder}: there is no such folder")
    try:
        there = {
            path.name.removesuffix(suffix): path
            for suffix in reversed(SUFFIXES)
            for path in sorted(folder.iterdir())
            if path.name.endswith(suffix) and path.is_file()
        }
    except OSError as error:
        raise DataError(
            f"options.folder: {folder} cannot be read: {error.strerror}; give yourself the right "
            "to read it"
        ) from error
    if not there:
        raise DataError(
            f"options.folder: {folder}: holds no file of sentence pairs: there should be a "
            "LANGUAGE.txt or LANGUAGE.txt.gz for each language"
        )
    for split in SPLITS:
        for language in languages[split]:
            if language not in there:
                near = difflib.get_close_matches(language, there, n=1)
                meant = f" (did you mean {near[0]}?)" if near else ""
                raise DataError(
                    f"options.{split}_languages: {language!r}: {folder} has no {language}.txt or "
                    f"{language}.txt.gz; it has {', '.join(sorted(there))}{meant}"
                )
    return {language: there[language] for split in SPLITS for language in languages[split]}


def _check_languages(languages: Languages) -> None:
    """Raise DataError for what is no name of a language, or in two splits."""
    for split in SPLITS:
        for language in languages[split]:
            if not re.fullmatch(r"\w[\w-]*", language):
                raise DataError(
                    f"options.{split}_languages: {language!r}: must be the name of a file without "
                    "its ending, such as ron"
                )
    for one, other in combinations(SPLITS, 2):
        shared = set(languages[one]) & set(languages[other])
        if shared:
            raise DataError(
                f"options.{one}_languages and options.{other}_languages: {min(shared)!r} is in "
                "both; meta-learning is judged on new languages, so each may be in one split only"
            )


def read_pairs(path: Path) -> list[Pair]:
    """Read a file: UTF-8, a pair a line, English first; more columns and blank lines are passed by.

    Raises DataError, naming the file and the line, for one that is not like that, and for an empty
    file.
    """
    text = _text(path)
    pairs = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        columns = [column.strip() for column in line.split("\t")]
        where = f"{path}, line {number}"
        if len(columns) < 2:
            raise DataError(
                f"{where}: {_shown(line)} has no tab; a line must be an English sentence, a tab, "
                "and the sentence in the other language"
            )
        english, other = columns[:2]
        if not english or not other:
            raise DataError(f"{where}: {_shown(line)} has nothing on one side of its tab")
        pairs.append((other, english))
    if not pairs:
        raise DataError(f"{path} is empty: there should be a pair of sentences in each line")
    return pairs


def content_digest(pairs: Mapping[str, Sequence[Pair]]) -> str:
    """Return 16 hex digits for the pairs of all languages, however their files are packed."""
    digest = hashlib.sha256()
    for language in sorted(pairs):
        digest.update(f"{language}\n".encode())
        for other, english in pairs[language]:
            digest.update(f"{english}\t{other}\n".encode())
    return digest.hexdigest()[:16]


def _text(path: Path) -> str:
    content = _content(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: is not UTF-8 (byte {content[error.start]:#04x}); save it as "
            f"UTF-8, for example with iconv -f ENCODING -t UTF-8"
        ) from None


def _content(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is damaged: cut short, or not a gzip file ({error}); get it again"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"{path} holds more than {MOST_BYTES >> 20} MiB; give a smaller part of it")
    return content


def _shown(line: str) -> str:
    return repr(line if len(line) <= SHOWN else line[: SHOWN - 3] + "...")
