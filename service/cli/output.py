"""What commands print: results on stdout, talk and progress on stderr, JSON where asked for."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import orjson


def say(text: str) -> None:
    """A line for the person, not for a program: stderr."""
    click.echo(text, err=True)


def emit(value: Any) -> None:
    """A result for a program: one JSON value on one line of stdout."""
    click.echo(orjson.dumps(value))


class Bar:
    """A progress bar that knows its length, or a counter that does not."""

    def __init__(self, label: str, total: int | None) -> None:
        self._label, self.total, self._done = label, total, 0
        self.shows = sys.stderr.isatty()
        self._last = 0.0

    def update(self, count: int) -> None:
        self.update_to(self._done + count)

    def update_to(self, done: int) -> None:
        self._done = done
        if self.shows and (time.monotonic() - self._last > 0.1 or done == self.total):
            self._last = time.monotonic()
            self._draw()

    def _draw(self) -> None:
        if self.total:
            full = round(28 * self._done / self.total)
            line = f"{self._label} [{'#' * full}{'-' * (28 - full)}] {self._done}/{self.total}"
        else:
            line = f"{self._label} {self._done:,}"
        click.echo(f"\r\033[K{line}", err=True, nl=False)

    def clear(self) -> None:
        if self.shows:
            click.echo("\r\033[K", err=True, nl=False)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Bar]:
    """A bar on a terminal; silent where stderr is a file or a pipe."""
    bar = Bar(label, total)
    try:
        yield bar
    finally:
        bar.clear()
