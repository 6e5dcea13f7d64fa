"""The flat tables as Parquet. Needs pyarrow, which is large and therefore an extra."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from twin_engine.tables import LONG, long_rows, wide_rows
from twin_engine.tables.flat import is_number

_WHOLE = frozenset({"version", "t", "end"})
_WORDS = frozenset({"twin", "time_unit"})

Documents = Sequence[Mapping[str, Any]]


def long_parquet(documents: Documents) -> bytes:
    rows = [row._asdict() for row in long_rows(documents)]
    return _bytes(rows, {name: _long_type(name) for name in LONG})


def wide_parquet(documents: Documents) -> bytes:
    names, rows = wide_rows(documents)
    return _bytes(rows, {name: _wide_type(name) for name in names})


def _long_type(name: str) -> Any:
    if name in _WHOLE:
        return pa.int64()
    return pa.float64() if is_number(name) else pa.string()


def _wide_type(name: str) -> Any:
    if name in _WORDS:
        return pa.string()
    return pa.int64() if name in _WHOLE else pa.float64()


def _bytes(rows: Sequence[Mapping[str, Any]], types: Mapping[str, Any]) -> bytes:
    """One schema whatever the rows hold, so that files of several runs can be joined."""
    schema = pa.schema(list(types.items()))
    columns = {name: [row.get(name) for row in rows] for name in types}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()
