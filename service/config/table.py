"""The table of settings for the documentation, and what the loader must know about paths."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from marshmallow import fields

from service.config.sections import Config


class Row(NamedTuple):
    """One setting as the documentation shows it."""

    path: str
    default: str
    text: str
    secret: bool
    env_only: bool
    kind: type

    @property
    def variable(self) -> str:
        return "TWINPORT_" + self.path.replace(".", "__").upper()


def rows(section: type = Config, path: str = "") -> Iterator[Row]:
    """Every setting, sections first to last."""
    for item in dataclasses.fields(section):
        meta = item.metadata
        here = f"{path}{item.name}"
        if "words" in meta:
            name = f"{here}.<{meta['words']}>"
            yield Row(name, "", meta["text"], False, False, fields.String)
        elif "key" in meta:
            yield from rows(meta["section"], f"{here}.<{meta['key']}>.")
        elif isinstance(item.default_factory, type):
            yield from rows(item.default_factory, f"{here}.")
        elif "check" in meta:
            yield _row(item, here)


def markdown() -> str:
    """The table of every setting."""
    head = ["| setting | environment | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(_line(row) for row in rows())]) + "\n"


def kinds() -> dict[str, type]:
    """What each setting is, so that the environment's text can be read as such."""
    return {row.path: row.kind for row in rows()}


def env_only_paths() -> tuple[str, ...]:
    return tuple(row.path for row in rows() if row.env_only)


def _row(item: "dataclasses.Field[Any]", path: str) -> Row:
    meta = item.metadata
    kind = type(meta["check"])
    return Row(path, _shown(item.default), meta["text"], meta["secret"], meta["env_only"], kind)


def _shown(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    if default in ("", (), None):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{' '.join(default)}`" if isinstance(default, tuple) else f"`{default}`"


def _line(row: Row) -> str:
    notes = " Secret." if row.secret else ""
    notes += " Environment only." if row.env_only else ""
    return f"| `{row.path}` | `{row.variable}` | {row.default} | {row.text}{notes} |"
