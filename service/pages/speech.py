"""In which language a patient is spoken to, and every sentence of it.

The sentences are lines of `own/texts/<language>.toml`; the first language is complete. Whatever
another one lacks is said in the first. Everybody but patients is spoken to in the first alone.
"""

import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

FIRST = "en"
_SPOKEN: ContextVar[str] = ContextVar("language", default=FIRST)


@cache
def languages() -> Mapping[str, Mapping[str, Any]]:
    """Every catalogue there is, by language; the first is complete (a test sees to that)."""
    folder = files("service.pages.own") / "texts"
    return {
        one.name.removesuffix(".toml"): tomllib.loads(one.read_text(encoding="utf-8"))
        for one in folder.iterdir()
        if one.name.endswith(".toml")
    }


def speak(language: str) -> None:
    """From here on, in this thread."""
    _SPOKEN.set(language if language in languages() else FIRST)


def language() -> str:
    return _SPOKEN.get()


def text(key: str, **values: object) -> str:
    """A sentence of the catalogue; of the first language where another lacks it."""
    found = _find(languages()[language()], key) or _find(languages()[FIRST], key)
    if found is None:
        raise KeyError(key)
    return found.format(**values)


def counted(key: str, count: int, **values: object) -> str:
    """One of two sentences: `<key>_one` for exactly one, else `<key>`, in which {n} stands."""
    return text(f"{key}_one" if count == 1 else key, n=f"{count:,}", **values)


def strong(key: str, **values: object) -> Markup:
    """A sentence in which `*this*` stands out."""
    parts = str(escape(text(key, **values))).split("*")
    made = (f"<strong>{p}</strong>" if i % 2 else p for i, p in enumerate(parts))
    return Markup("".join(made))  # noqa: S704 - every part was escaped above


def named(kind: str, code: str) -> str | None:
    """What another language calls one of our codes; None: what the first calls it."""
    if language() == FIRST:
        return None
    return _find(languages()[language()], f"words.{kind}.{code}")


def _find(catalogue: Mapping[str, Any], key: str) -> str | None:
    node: Any = catalogue
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, str) else None
