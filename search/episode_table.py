"""The episode table: the parquet form of episode records, one row an episode."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from search.records import EpisodeRecords

# What each column holds; written into the file, so that it explains itself to whoever opens it.
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "split": (
        pa.string(),
        "train; rung and validation (both drawn from meta-validation classes); test",
    ),
    "index": (pa.int64(), "the episode's index within its split: with the seed, it draws it again"),
    "seed": (pa.int64(), "the learner's: of its initialization and its training episodes"),
    "episodes_seen": (pa.int64(), "training episodes seen when the row was made"),
    "seconds": (pa.float64(), "wall seconds, the batch's shared equally among its episodes"),
    "classes": (pa.list_(pa.int64()), "class ids within the split, by label; empty in regression"),
    "loss_before": (pa.float64(), "query loss before adaptation; NaN in training"),
    "loss_after": (pa.float64(), "query loss after adaptation"),
    "score_before": (
        pa.float64(),
        "query accuracy or IoU before adaptation; NaN if the problem has neither",
    ),
    "score_after": (pa.float64(), "the same after adaptation"),
    "loss_curve": (
        pa.list_(pa.float64()),
        "query loss after 0, 1, ... inner steps; NaN where not measured; empty in training",
    ),
    "score_curve": (pa.list_(pa.float64()), "query accuracy or IoU, like loss_curve"),
    "measures": (
        pa.map_(pa.string(), pa.float64()),
        "what else the task measures after adaptation, by name; only in meta-test",
    ),
}

SCHEMA = pa.schema(
    [pa.field(name, kind, metadata={"about": text}) for name, (kind, text) in COLUMNS.items()],
    metadata={"format": "metasweep-episodes-3"},
)


def to_parquet(records: Sequence[EpisodeRecords]) -> bytes:
    """Return records as a parquet file; parts may have curves of different lengths."""
    table = pa.concat_tables([_table(part) for part in records])
    stream = io.BytesIO()
    # Numbers hardly repeat: looking for a dictionary of them takes longer than writing them.
    pq.write_table(table, stream, compression="zstd", use_dictionary=["split"])
    return stream.getvalue()


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """Read files that `to_parquet` made as one frame; list columns come as numpy arrays.

    Each measure comes as a column of its own, NaN where there is none.
    """
    tables = [pq.read_table(path, schema=SCHEMA) for path in paths]
    frame = pa.concat_tables([SCHEMA.empty_table(), *tables]).to_pandas()
    found = [dict(row) for row in frame.pop("measures")]
    for name in sorted({name for row in found for name in row}):
        frame[name] = np.array([row.get(name, np.nan) for row in found])
    return frame


def measures(frame: pd.DataFrame) -> list[str]:
    """Return the names of the measures in a frame of `read`."""
    return [name for name in frame.columns if name not in COLUMNS]


def _table(records: EpisodeRecords) -> pa.Table:
    columns = []
    for field in SCHEMA:
        values = getattr(records, field.name)
        if field.name == "measures":
            columns.append(_maps(values, len(records), field.type))
        elif pa.types.is_list(field.type):
            columns.append(_lists(values, field.type))
        elif pa.types.is_string(field.type):
            columns.append(_texts(values, field.type))
        else:
            # from_pandas=False keeps NaN a number: null would mean that nothing was measured.
            columns.append(pa.array(values, type=field.type, from_pandas=False))
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _texts(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    letters = np.ascontiguousarray(values).view(np.uint32).reshape(-1, values.itemsize // 4)
    # Rows are nearly always of one split, and to encode it for each is a tenth of the work.
    if len(values) and (letters == letters[0]).all():
        return pa.repeat(pa.scalar(str(values[0]), type=kind), len(values))
    return pa.array(values, type=kind)


def _lists(values: np.ndarray, kind: pa.ListType) -> pa.ListArray:
    rows, width = values.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), type=kind.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _maps(values: Mapping[str, np.ndarray], rows: int, kind: pa.MapType) -> pa.MapArray:
    offsets = np.arange(rows + 1, dtype=np.int32) * len(values)
    keys = pa.array(list(values) * rows, type=kind.key_type)
    flat = np.stack(list(values.values()), axis=1).reshape(-1) if values else np.empty(0)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(flat, type=kind.item_type))
