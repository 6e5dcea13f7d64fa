"""SMART scopes of the kind `system/Type.letters`: both versions, and whether a grant is enough.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SCOPE = re.compile(
    r"(?P<context>system|user|patient)/(?P<type>\*|[A-Z][A-Za-z]+)"
    r"\.(?P<what>[a-z*]+)(?P<narrower>\?.*)?\Z"
)
_LETTERS = "cruds"
# The standard's own table: what a word of version 1 means in letters of version 2.
_WORDS = {"read": "rs", "write": "cud", "*": _LETTERS}


@dataclass(frozen=True, slots=True)
class Scope:
    context: str
    type: str
    letters: frozenset[str]
    narrower: str = ""
    """`?category=…`: less than the whole type."""

    def covers(self, other: "Scope") -> bool:
        return (
            self.context == other.context
            and self.type in ("*", other.type)
            and self.letters >= other.letters
            and self.narrower in ("", other.narrower)
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token lets us read, as far as its server says; None: it does not say."""

    scopes: tuple[Scope, ...] | None = None

    @classmethod
    def of(cls, texts: Iterable[str] | None) -> "Grant":
        """A grant that names no resources (`openid`, an API as a whole) says nothing of them."""
        found = tuple(scope for text in texts or () if (scope := parse(text)) is not None)
        return cls(found or None)

    def lacks(self, kind: str, letters: str = "rs") -> bool:
        """Whether the server says that not all of a type may be read and searched."""
        if self.scopes is None:
            return False
        mine = [s for s in self.scopes if s.type in ("*", kind) and not s.narrower]
        return not set(letters) <= set().union(*(scope.letters for scope in mine))


def parse(text: str) -> Scope | None:
    """One scope; None for what is no scope on resources (`openid`, `launch` …)."""
    match = _SCOPE.match(text)
    if match is None:
        return None
    letters = _WORDS.get(match["what"], match["what"])
    if not set(letters) <= set(_LETTERS):
        return None
    return Scope(match["context"], match["type"], frozenset(letters), match["narrower"] or "")


def missing(asked: Iterable[str], granted: Iterable[str]) -> list[str]:
    """Those asked for that the granted ones do not cover, in the form `system/Type.letters`.

    Several granted scopes of one type add up.
    """
    have = [scope for text in granted if (scope := parse(text)) is not None]
    lacking = []
    for scope in filter(None, map(parse, asked)):
        letters = [
            letter
            for letter in _LETTERS
            if letter in scope.letters and not _one_covers(have, scope, letter)
        ]
        if letters:
            lacking.append(f"{scope.context}/{scope.type}.{''.join(letters)}{scope.narrower}")
    return lacking


def _one_covers(have: Iterable[Scope], scope: Scope, letter: str) -> bool:
    single = Scope(scope.context, scope.type, frozenset(letter), scope.narrower)
    return any(each.covers(single) for each in have)


def as_v1(asked: Iterable[str]) -> list[str]:
    """The same for a server that knows version 1 only: a little more where it has no letter."""
    found: dict[str, None] = {}
    for text in asked:
        scope = parse(text)
        if scope is None:
            found[text] = None
            continue
        for word, letters in (("read", "rs"), ("write", "cud")):
            if scope.letters & set(letters):
                found[f"{scope.context}/{scope.type}.{word}"] = None
    return list(found)
