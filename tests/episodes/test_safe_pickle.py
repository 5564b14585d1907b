from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from episodes.safe_pickle import PickleError, load_pickle

PLAIN = {
    "names": ["a", "b"],
    "labels": [1, 2, None, True, 0.5],
    "nested": {"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "pair": (1, "x")},
    "float": np.array([0.25, -1.0], dtype=np.float32),
    "big": np.arange(3, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "texts": np.array(["ab", "c"]),
    "number": np.int64(7),
    "bytes": b"\x00\xff",
}


def load(content: bytes):
    return load_pickle(io.BytesIO(content))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_are_read_as_pickle_reads_them(protocol):
    content = pickle.dumps(PLAIN, protocol)
    ours, theirs = load(content), pickle.loads(content)
    np.testing.assert_equal(ours, theirs)
    assert ours["nested"]["data"].dtype == np.uint8


def test_a_list_of_arrays_is_read_as_one():
    arrays = np.empty(2, dtype=object)
    arrays[:] = [np.arange(3, dtype=np.uint8), np.arange(5, dtype=np.uint8)]
    for value in (arrays, list(arrays)):
        read = load(pickle.dumps(value))
        assert [array.tolist() for array in read] == [[0, 1, 2], [0, 1, 2, 3, 4]]


def test_a_pickle_of_python_2_is_read():
    content = (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06\x00\x01\x02\xfd\xfe\xfftbs."
    )
    data = load(content)["data"]
    assert data.dtype == np.uint8
    assert data.tolist() == [[0, 1, 2], [253, 254, 255]]


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments) -> None:
        self._call = (function, arguments)

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Calls(os.system, "touch pwned"), "system"),
        (Calls(eval, "1"), "builtins.eval"),
        (Calls(getattr, "text", "upper"), "builtins.getattr"),
        (Calls(np.load, "file.npy"), "numpy.load"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]), "type 'V8'"),
        (Calls(np.dtype, "O"), "holds a _Type"),
        (np.array([1 + 2j]), "type 'c16'"),
    ],
)
def test_anything_else_is_refused(value, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PickleError, match=named):
        load(pickle.dumps({"x": value}))
    assert not list(tmp_path.iterdir())


def test_an_array_cannot_be_given_pointers():
    """Bytes as an array of objects would be read as addresses."""
    kind = Calls(np.dtype, "O8", False, True)
    state = (1, (1,), kind, False, b"\x41" * 8)

    class Forged:
        def __reduce__(self):
            reconstruct = np.array(1).__reduce__()[0]
            return reconstruct, (np.ndarray, (0,), b"b"), state

    # As a list of numbers at worst.
    assert load(pickle.dumps(Forged(), 2)) == [0x41] * 8


def test_other_damage_is_a_pickle_error():
    content = pickle.dumps(PLAIN)
    for cut in range(0, len(content), 7):
        with pytest.raises(PickleError):
            load(content[:cut])
    array = pickle.dumps(np.arange(12, dtype=np.uint8).reshape(3, 4))
    with pytest.raises(PickleError, match="reshape"):
        load(array.replace(b"K\x03K\x04\x86", b"K\x03K\x05\x86"))


def test_what_calls_for_no_end_of_memory_is_refused():
    deep = b"\x80\x02" + b"]" * 5 + b"".join(b"a" for _ in range(4)) + b"."
    assert load(deep) == [[[[[]]]]]
    shared: list = []
    for _ in range(40):
        shared = [shared] * 4
    read = load(pickle.dumps(shared))
    assert len(read) == 4
    assert read[0] is read[3]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x80\x02]q\x00h\x00a.", "list"),
        (b"\x80\x02}q\x00K\x01h\x00s.", "dict"),
        (b"\x80\x02]q\x00h\x00\x85a.", "list"),
    ],
)
def test_what_holds_itself_is_refused(content, what):
    with pytest.raises(PickleError, match=f"^holds a {what} that holds itself"):
        load(content)
