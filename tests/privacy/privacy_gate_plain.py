"""The gate written the plain way, to hold the quick one against.

Every string of the source is looked at where it stands; every value is spelled in every encoding
first, then each string of the document is searched for each of them. Slow, and simple enough to be
read as the specification. Only the lists of keys and the patterns are the gate's own.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote

from privacy.gate import (
    _CODES,
    _DATE,
    _HARMLESS,
    _NAMES,
    _PEOPLE,
    _RUN,
    _TAG,
    _TEXTS,
    _TITLES,
    _WORD,
    LARGEST_NUMBER,
    LONGEST,
    SHORTEST_CODE,
    SHORTEST_INSIDE,
    SHORTEST_NUMBER,
    SHORTEST_TEXT,
    IdentifyingValues,
    fold,
    pattern_of,
)


def squash(text: str) -> str:
    return "".join(char for char in fold(text) if char.isalnum())


# Collecting ---------------------------------------------------------------------------------------


def collect(resources: Iterable[Any]) -> IdentifyingValues:
    """The identifying values of the source resources of one patient."""
    values = IdentifyingValues()
    for resource in resources:
        _collect(resource, values, named=False, person=False)
    return values


def _collect(node: Any, values: IdentifyingValues, named: bool, person: bool) -> None:
    if type(node) is dict:
        for key, inner in node.items():
            bare = key.lstrip("_")
            if type(inner) is str:
                _string(bare, inner, values, named, person)
            elif type(inner) in {dict, list}:
                _collect_list(bare, inner, values, named, person)
    elif type(node) is list:
        for inner in node:
            _collect(inner, values, named, person)


def _collect_list(
    key: str, inner: Any, values: IdentifyingValues, named: bool, person: bool
) -> None:
    named = named or key in _NAMES
    for item in inner if type(inner) is list else [inner]:
        if type(item) is str:
            _string(key, item, values, named, person)
        else:
            _collect(item, values, named, person or key in _PEOPLE)


def _string(key: str, text: str, values: IdentifyingValues, named: bool, person: bool) -> None:
    found = _DATE.match(text)
    if found is not None:
        values.dates.add((found[1], found[2], found[3]))
        return
    if key in _HARMLESS or (named and key == "url"):
        return
    if (named and key != "reference") or (person and key == "display"):
        _words(text, values)
    elif key in _TEXTS:
        _text(text, values)
    if key in _CODES or named:
        values.codes.add(text[:LONGEST])
        if key != "url":  # of an extension: its last part is the public name of an element
            values.codes |= set(_last_parts(text))


def _last_parts(text: str) -> Iterator[str]:
    """The id at the end of a reference or URL."""
    if "/" in text or ":" in text:
        yield re.split(r"[/:|=]", text[:LONGEST])[-1]


def _words(text: str, values: IdentifyingValues) -> None:
    words = {fold(word) for word in _WORD.findall(text[:LONGEST])}
    values.words |= words - _TITLES
    whole = squash(text[:LONGEST])
    if len(whole) >= SHORTEST_INSIDE:
        values.words.add(whole)


def _text(text: str, values: IdentifyingValues) -> None:
    """Free text as a whole: its names are known from where they are names; a word is no text."""
    plain = _TAG.sub(" ", text).strip()[:LONGEST]
    values.dates |= set(_DATE.findall(plain))
    if "^" in plain:
        _words(plain, values)
    if " " in plain and len(plain) >= SHORTEST_TEXT:
        values.codes.add(plain)


# Searching ----------------------------------------------------------------------------------------


class _Needles:
    """All forms of all values, in sets, so that searching does not slow down with their number."""

    def __init__(self, values: IdentifyingValues) -> None:
        self.whole: dict[str, str] = {}  # squashed string or word -> rule
        self.encoded: dict[str, str] = {}  # case-sensitive string -> rule
        self.numbers: dict[str, str] = {}  # digits -> rule
        for word in values.words:
            self.whole.setdefault(word, "name")
            self._encode(word, "name")
            self._encode(word.capitalize(), "name")
            self._encode(word.upper(), "name")
        for code in values.codes:
            self._code(code)
        for date in values.dates:
            self._date(*date)
        self.inside = {k: v for k, v in self.whole.items() if len(k) >= SHORTEST_INSIDE}
        self.grams = {needle[:SHORTEST_INSIDE] for needle in self.inside}
        self.encoded_grams = {needle[:SHORTEST_INSIDE] for needle in self.encoded}

    def _code(self, code: str) -> None:
        plain = squash(code)
        if len(plain) < SHORTEST_CODE:
            return
        self.whole.setdefault(plain, "identifier")
        self.whole.setdefault(plain[::-1], "identifier-reversed")
        self._encode(code, "identifier")
        self._encode(plain, "identifier")
        if plain.isdigit():  # a phone number, in whatever groups
            self._number(plain)
            self._number(plain[1:] if plain[0] == "1" else plain)
        elif " " not in code:  # not out of free text: its numbers may be the twin's own values
            for run in _RUN.findall(code):
                self._number(run)

    def _number(self, digits: str) -> None:
        """Zeros in front are not written in numbers; what is then short occurs by chance."""
        for form, rule in ((digits, "identifier"), (digits[::-1], "identifier-reversed")):
            number = form.lstrip("0")
            if len(number) >= SHORTEST_NUMBER:
                self.numbers.setdefault(number, rule)

    def _date(self, year: str, month: str, day: str) -> None:
        for text in (year + month + day, month + day + year, day + month + year):
            self.whole.setdefault(text, "date")
            self.whole.setdefault(text[::-1], "date-reversed")
        self.numbers.setdefault(year + month + day, "date")
        self._encode(f"{year}-{month}-{day}", "date")

    def _encode(self, text: str, rule: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        if len(raw) < 4:
            return
        for form, kind in encodings(raw):
            if len(form) >= SHORTEST_INSIDE:
                self.encoded.setdefault(form, f"{rule}-{kind}")
        self.whole.setdefault(squash(text)[::-1], f"{rule}-reversed")

    def in_string(self, text: str) -> str | None:
        """The rule by which a string of the document is a hit."""
        plain = squash(text)
        if not plain:
            return None
        found = self.whole.get(plain)
        if found:
            return found
        for word in _WORD.findall(fold(text)):
            if len(word) > 2 and word in self.whole:
                return self.whole[word]
        return self._inside(plain, self.grams, self.inside) or self._inside(
            text, self.encoded_grams, self.encoded
        )

    @staticmethod
    def _inside(text: str, grams: set[str], needles: dict[str, str]) -> str | None:
        size = SHORTEST_INSIDE
        present = {text[i : i + size] for i in range(len(text) - size + 1)} & grams
        if present:
            for needle, rule in needles.items():
                if needle[:size] in present and needle in text:
                    return rule
        return None

    def in_number(self, text: str) -> str | None:
        """A number is compared as the whole number it is, or by the part before its point."""
        whole = text.lstrip("-").partition(".")[0]
        if "e" in text or "E" in text:
            value = float(text)
            whole = str(abs(int(value))) if abs(value) < LARGEST_NUMBER else ""
        return self.numbers.get(whole.lstrip("0"))


def encodings(raw: bytes) -> Iterator[tuple[str, str]]:
    """The forms in which a value may hide, each with the name of its encoding."""
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + raw).decode()
        # Characters that also depend on the bytes before and after are cut off.
        inner = text[(0, 2, 3)[shift] : (len(raw) + shift) * 8 // 6]
        yield inner, "base64"
        yield inner.replace("+", "-").replace("/", "_"), "base64"
    yield binascii.hexlify(raw).decode(), "hex"
    yield binascii.hexlify(raw).decode().upper(), "hex"
    percent = quote(raw, safe="")
    if percent != raw.decode("utf-8", "replace"):
        yield percent, "percent"
    for name in ("md5", "sha1", "sha256"):
        yield hashlib.new(name, raw, usedforsecurity=False).hexdigest(), name


_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_MILLISECONDS = re.compile(r"1[0-9]{12}\Z")
_COMPACT = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\Z")


class _Number(str):
    __slots__ = ()


def hits(
    document: bytes, values: IdentifyingValues, allowed: Collection[str] = frozenset()
) -> dict[str, str]:
    """Where → one of the rules that hit there; names are shown whatever they are."""
    search = _Search(_Needles(values), allowed)
    search.node(json.loads(document, parse_float=_Number, parse_int=_Number), "")
    return search.hits


class _Search:
    def __init__(self, needles: _Needles, allowed: Collection[str]) -> None:
        self.needles, self.allowed = needles, allowed
        self.hits: dict[str, str] = {}

    def node(self, node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, inner in node.items():
                self.leaf(key, path)
                self.node(inner, f"{path}.{key}" if path else key)
        elif isinstance(node, list):
            for inner in node:
                self.node(inner, path)
        elif isinstance(node, str):
            self.leaf(node, path)

    def leaf(self, text: str, path: str) -> None:
        if type(text) is _Number:
            rule = _judge_number(text, self.needles)
        else:
            rule = None if text in self.allowed else _judge(text, self.needles)
        if rule:
            self.hits[path] = rule


def _judge(text: str, needles: _Needles) -> str | None:
    digest = _DIGEST.fullmatch(text)
    if digest is not None:
        return needles.encoded.get(digest[1])
    return needles.in_string(text) or pattern_of(text)


def _judge_number(text: str, needles: _Needles) -> str | None:
    found = needles.in_number(text)
    if found:
        return found
    if _MILLISECONDS.match(text):
        return "pattern-milliseconds"
    return "pattern-compact-date" if _COMPACT.match(text) else None
