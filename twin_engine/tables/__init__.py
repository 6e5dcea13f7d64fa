"""A twin as tables for people who do statistics: rows, without any file."""

from twin_engine.tables.flat import LONG, Long, long_rows, wide_rows
from twin_engine.tables.omop import EPOCH, Omop, OmopError, columns, omop_tables

__all__ = [
    "EPOCH",
    "LONG",
    "Long",
    "Omop",
    "OmopError",
    "columns",
    "long_rows",
    "omop_tables",
    "wide_rows",
]
