"""What identifies in lines of which the like was read before, without parsing them again.

The gate's own use of `_apart`, which cuts out of a line what differs and leaves a *residue*. Of a
residue a `Layout` says where each text that is cut out stands, as the gate sees it: below a name or
address, below somebody, under which key (`gate.collect`). So the texts of all such lines can be
collected in columns. It is learned from the residue alone, with marks in place of what was cut out,
and shares nothing with the forms by which such a line is de-identified (`privacy.forms`).

A residue in which something that was *not* cut out identifies has no layout, and one that two
readers could understand differently has none: those lines are parsed.

Layouts are shared by all patients, so they hold nothing of one: positions, and names from the
gate's lists. What residue each is of is kept as a digest, with a key of this process.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import orjson

from privacy.gate import NAMED, Texts, below, identifies, key_told, names

try:
    from privacy import _apart
except ImportError:  # installed without a compiler
    _apart = None  # type: ignore[assignment]

LAYOUTS = 1 << 12  # remembered; when they are full, all are learned anew
DEEPEST = 61  # objects and lists inside each other: three more may stand around a resource

Values = tuple[str | int | float, ...]
Known = TypeVar("Known")
_Found = TypeVar("_Found", bound=tuple[Any, ...])
Group = tuple[_Found, list[Values], list[int]]  # of some lines, their places

_CUT = re.compile(rb"[\x01\x02]")
MARK = "\x01"  # begins a text that stands for one that was cut out; no other text can hold it
_NUMBER = b"0.5"  # no number any more if another part of one stands beside it


def split(bundle: bytes) -> list[bytes] | None:
    """What stands around the resources of a Bundle, and these, in turns."""
    return None if _apart is None else _apart.split(bundle)


def apart(line: bytes) -> tuple[bytes, Values] | None:
    """The residue of a line, if it has one, and what was cut out."""
    return None if _apart is None else _apart.apart(line)


def all_apart(lines: list[bytes]) -> list[tuple[bytes, Values] | None]:
    """The same of many, without a call of ours for each."""
    return [None] * len(lines) if _apart is None else list(map(_apart.apart, lines))


class Finder(Generic[_Found]):
    """Finds, by the residue that a line would leave, what is known of it, and the values that are
    wanted: of what is known, the first item says by bytes which, the second is -1."""

    def __init__(self) -> None:
        self._planted = 0
        self._tree = None if _apart is None else _apart.tree()

    def find(self, line: bytes) -> tuple[_Found, Values] | None:
        """Without `_apart` nothing is found."""
        return None if _apart is None else _apart.find(self._tree, line)

    def groups(self, lines: Sequence[bytes]) -> tuple[list[Group[_Found]], list[int]]:
        """The same of many, together what is alike; and the places of those of which nothing is
        known."""
        if _apart is None:
            return [], list(range(len(lines)))
        return _apart.groups(self._tree, tuple(lines))

    def plant(self, residue: bytes, known: _Found) -> None:
        """Of a line that was parsed. When there is much, all is found anew."""
        if self._planted >= LAYOUTS:
            self._planted, self._tree = 0, _apart.tree()
        self._planted += 1
        _apart.plant(self._tree, residue, known)


class Slot(NamedTuple):
    """Where a text that was cut out stands."""

    at: int  # among the values
    context: int
    key: str


class Layout(NamedTuple):
    """What the gate has to know of lines of one residue."""

    slots: tuple[Slot, ...]
    naming: tuple[Slot, ...]  # those of which more is collected than days
    about: tuple[int, ...]  # which values name the patient, if any does: `subject` before `patient`

    def said(self, lines: list[Values]) -> set[Values]:
        """What these lines, all of this layout, say whose they are."""
        return {tuple([line[at] for at in self.about]) for line in lines}

    def add(self, lines: list[Values], texts: Texts, *, days: bool = True) -> None:
        """What stands in them, to what is collected of a patient. `days`: also if it is no more."""
        values: list[Any] = list(zip(*lines, strict=True))
        for at, context, key in self.slots if days else self.naming:
            texts[context][key].update(values[at])


class Residues(Generic[Known]):
    """What is known of residues, of any number of patients. Threads share it."""

    def __init__(self, learn: Callable[[bytes], Known | None]) -> None:
        self._learn = learn
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, Known | None] = {}  # None: there is none
        self._met: set[bytes] = set()

    def of(self, residue: bytes, *, repeats: bool) -> Known | None:
        """None where these lines have to be parsed. What is met once is not worth learning."""
        digest = hashlib.blake2b(residue, digest_size=16, key=self._key).digest()
        known = self._known.get(digest, self)
        if not isinstance(known, Residues):
            return known
        if not (repeats or digest in self._met):
            _make_room(self._met)
            self._met.add(digest)
            return None
        _make_room(self._known)
        found = self._known[digest] = self._learn(residue)
        return found


class Layouts(Residues[Layout]):
    """What the gate has to know."""

    def __init__(self) -> None:
        super().__init__(layout_of)


def _make_room(memory: dict[bytes, Any] | set[bytes]) -> None:
    if len(memory) >= LAYOUTS:
        memory.clear()


def layout_of(residue: bytes) -> Layout | None:
    """The layout of all lines that leave this residue, if there can be one."""
    source = marked(residue)
    return None if source is None else laid_out(source, residue)


def marked(residue: bytes) -> dict[str, Any] | None:
    """The resource that all lines of this residue are, with marks in place of the texts that were
    cut out; None if they are none, or may not be to everybody."""
    if residue.count(b"{") + residue.count(b"[") > DEEPEST:
        return None
    try:
        source = _strict(_marked(residue, _CUT.findall(residue)))
    except ValueError:
        return None
    return source if _is_resource(source) else None


def _strict(text: bytes) -> Any:
    """What is JSON, and ambiguous to nobody."""
    orjson.loads(text)
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("the same name twice")
    return found


def _marked(residue: bytes, cuts: list[bytes]) -> bytes:
    """The residue with marks in place of texts."""
    at = iter(range(len(cuts)))

    def mark(cut: re.Match[bytes]) -> bytes:
        place = next(at)
        return b'"\\u0001%d"' % place if cut[0] == b"\x01" else _NUMBER

    return _CUT.sub(mark, residue)


def _is_resource(source: Any) -> bool:
    """Of a person more is asked than what identifies, and something without an id is given one."""
    if type(source) is not dict or "id" not in source:
        return False
    kind = source.get("resourceType")
    return type(kind) is str and kind != "Patient" and not kind.startswith(MARK)


def laid_out(source: dict[str, Any], residue: bytes) -> Layout | None:
    """The layout of a resource that `marked` has made of this residue."""
    slots = []
    for context, key, text in _texts(source, 0):
        if text.startswith(MARK):
            slots.append(Slot(int(text[1:]), context, key_told(key)))
        elif identifies(context, key, text):
            return None
    about = list(_about(source))
    # A name that was cut out, with space before its colon, has no slot.
    if len(slots) != residue.count(b"\x01") or not all(text.startswith(MARK) for text in about):
        return None
    naming = [slot for slot in slots if slot.key == "reference" or names(slot.context, slot.key)]
    return Layout(tuple(slots), tuple(naming), tuple(int(text[1:]) for text in about))


def _about(source: dict[str, Any]) -> Iterator[str]:
    """As `service.deidentify.people` asks whose a resource is."""
    for element in ("subject", "patient"):
        holder = source.get(element)
        text = holder.get("reference") if type(holder) is dict else None
        if type(text) is str:
            yield text


def _texts(node: dict[str, Any], context: int) -> Iterator[tuple[int, str, str]]:
    """Every text with what stands above it and its key, as the gate's walk meets them."""
    for key, inner in node.items():
        if type(inner) is str:
            yield context, key, inner
        elif type(inner) is dict:
            yield from _texts(inner, context | below(key))
        elif type(inner) is list:
            yield from _texts_in(inner, key, context)


def _texts_in(items: list[Any], key: str, context: int) -> Iterator[tuple[int, str, str]]:
    inside = context | below(key)
    for item in items:
        if type(item) is str:
            yield context | below(key) & NAMED, key, item
        elif type(item) is dict:
            yield from _texts(item, inside)
        elif type(item) is list:
            yield from _texts_in(item, key, inside)
