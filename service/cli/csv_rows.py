"""Rows of a CSV file or a pipe, with a progress bar for a long one, and one line for a bad one."""

import csv
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from service.cli.exits import CommandError, Exit
from service.cli.output import progress

BAR_FROM = 10_000  # rows


def read_rows(stack: ExitStack, source: Path) -> Iterator[dict[str, str]]:
    """`-` is standard input. The header is read at once, the rows as they are asked for."""
    file: IO[str] = sys.stdin
    if str(source) != "-":
        try:
            file = stack.enter_context(source.open(newline="", encoding="utf-8-sig"))
        except OSError as error:
            raise CommandError(
                f"can't read the rows ({type(error).__name__})", Exit.INPUT
            ) from None
    reader = csv.DictReader(file)
    if not _header(reader):
        raise CommandError("the file has no header line; name the columns first", Exit.INPUT)
    return _counted(stack, reader)


def _counted(stack: ExitStack, reader: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    bar = stack.enter_context(progress("rows", None))
    try:
        for number, row in enumerate(reader, 1):
            if None in row or None in row.values():
                raise CommandError(
                    f"line {reader.line_num}: not as many cells as columns", Exit.INPUT
                )
            if number >= BAR_FROM and number % 1000 == 0:
                bar.update_to(number)
            yield row
    except (csv.Error, UnicodeDecodeError) as error:
        raise CommandError(
            f"line {reader.line_num}: not CSV in UTF-8 ({type(error).__name__})", Exit.INPUT
        ) from None


def _header(reader: "csv.DictReader[str]") -> bool:
    try:
        return bool(reader.fieldnames)
    except (csv.Error, UnicodeDecodeError):
        return False
