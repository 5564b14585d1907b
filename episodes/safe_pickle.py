"""Reading pickles that data sets are published as, without running what they say.

A pickle is a program that may call anything; these only hold lists, dictionaries, text, numbers
and arrays of numbers. Nothing else is built here, and arrays are built by this file alone: even
numpy's own way back from a pickle trusts what it is told about memory.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import IO, Any

import numpy as np

NUMBERS = re.compile(r"[<>|=]?([biuf][1248]|[US][0-9]{1,4})")
"""The types of array that are read: of numbers, truth values and short texts."""


class PickleError(ValueError):
    """A pickle holds something that is not plain data, or is damaged."""


def load_pickle(stream: IO[bytes]) -> Any:
    """Return the plain data of a pickle, arrays included, of Python 2 or 3.

    Python 2 text and bytes are both text here, a character a byte.
    Raises PickleError for anything that is not plain data.
    """
    try:
        return _plain(_Unpickler(stream, encoding="latin1").load(), {})
    except PickleError:
        raise
    # A damaged pickle is a damaged program: it may end in any error.
    except Exception as error:
        raise PickleError(f"not a pickle of plain data ({error})") from error


class _Call:
    """Something a pickle may call; one object a use, so that no pickle can change it for others."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _Type:
    """What a pickle says of an array's type, which is read and not believed."""

    __slots__ = ("objects", "text")

    def __init__(self, text: Any, *_: Any) -> None:
        self.objects = text in ("O", "O8", "|O")
        if not self.objects and not (isinstance(text, str) and NUMBERS.fullmatch(text)):
            raise PickleError(f"holds an array of type {ascii(text)[:100]}")
        self.text = "O" if self.objects else str(text)

    def __setstate__(self, state: Any) -> None:
        order, fields = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(field is not None for field in fields):
            raise PickleError("holds an array of records")
        if not self.objects:
            self.text = order + self.text.lstrip("<>|=")

    def array(self, content: Any, shape: tuple[int, ...], order: Any) -> np.ndarray:
        if isinstance(content, str):
            content = content.encode("latin1")
        flat = np.frombuffer(content, dtype=np.dtype(self.text))
        return flat.reshape(shape, order=order)


class _Array:
    """An array on its way out of a pickle; `_plain` puts its value in its place."""

    __slots__ = ("value",)

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def __setstate__(self, state: Any) -> None:
        shape, kind, is_fortran, content = state[-4:]
        if not isinstance(kind, _Type):
            raise PickleError("holds an array without a type")
        # Of objects, the content is a list of them.
        self.value = (
            list(content) if kind.objects else kind.array(content, shape, "CF"[bool(is_fortran)])
        )


def _from_buffer(buffer: Any, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.value = kind.array(buffer, shape, order)
    return array


def _scalar(kind: _Type, content: Any) -> Any:
    return kind.array(content, (1,), "C")[0].item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise PickleError(f"holds bytes encoded as {ascii(encoding)[:100]}")
    return text.encode("latin1")


_UNFINISHED = object()
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    **{(module, "_reconstruct"): _Array for module in _MULTIARRAY},
    **{(module, "scalar"): _scalar for module in _MULTIARRAY},
    **{(module, "_frombuffer"): _from_buffer for module in _NUMERIC},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise PickleError(f"wants to use {ascii(f'{module}.{name}')[:100]}")
        return _Call(_KNOWN[module, name])


def _plain(value: Any, known: dict[int, tuple[Any, Any]]) -> Any:
    """Return a value with every array in its place.

    known: by their ids, the containers met so far, held so that no id is given again, and what
        became of them. A few bytes may name one so often that copies of it would have no end.
    Raises PickleError for what is not plain, or holds itself.
    """
    if isinstance(value, _Array):
        return _plain(value.value, known)
    if value is None or isinstance(value, str | bytes | bytearray | int | float | np.ndarray):
        return value
    if not isinstance(value, dict | list | tuple):
        raise PickleError(f"holds a {type(value).__name__}")
    if id(value) in known:
        plain = known[id(value)][1]
        if plain is _UNFINISHED:
            raise PickleError(f"holds a {type(value).__name__} that holds itself")
        return plain
    known[id(value)] = value, _UNFINISHED
    if isinstance(value, dict):
        plain = {_plain(key, known): _plain(held, known) for key, held in value.items()}
    else:
        plain = type(value)(_plain(held, known) for held in value)
    known[id(value)] = value, plain
    return plain
