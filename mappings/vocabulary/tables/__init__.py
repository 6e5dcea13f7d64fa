"""The packaged tables, read once each. Every row carries where it came from."""

import csv
from collections.abc import Iterator
from importlib import resources
from typing import TypeAlias

Row: TypeAlias = dict[str, str]

# "judgement" is allowed for ranges, refusals and our own rules; never for a code or a factor.
CERTAINTIES = frozenset({"confirmed-by-2", "confirmed-by-1", "judgement"})


class VocabularyError(ValueError):
    """A packaged table does not hold together; names the table, the line and the reason."""

    def __init__(self, table: str, line: int, reason: str) -> None:
        super().__init__(f"{table}, line {line}: {reason}")


def read_table(name: str) -> Iterator[tuple[int, Row]]:
    """The rows of one table with their line numbers; a row without source is refused."""
    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    for line, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        _check(name, line, row)
        yield line, row


def _check(name: str, line: int, row: Row) -> None:
    if any(value is None for value in row.values()):
        raise VocabularyError(name, line, "the row is too short")
    if not row["source"]:
        raise VocabularyError(name, line, "no source")
    if row["certainty"] not in CERTAINTIES:
        raise VocabularyError(name, line, "unknown certainty")
