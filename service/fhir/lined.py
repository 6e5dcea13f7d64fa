"""Resources of one patient that are kept as the lines they came in, most of them never parsed.

A line of which the like was read before is cut (`privacy.layouts`); of what was cut out an
`Outline` is made: the few elements by which a resource is sorted, dated and told from our own. The
de-identifier knows such a line by its form, and what identifies in it is collected by its layout.
Whoever wants all of a resource has its line parsed.

Whatever is unusual has no outline and is parsed at once, as all lines are where Twinport was
installed without a C compiler.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, overload

from privacy.deidentify import Session
from privacy.elements import RESOURCE_TYPES
from privacy.gate import IdentifyingValues, collect, no_texts
from privacy.layouts import (
    LAYOUTS,
    MARK,
    Finder,
    Group,
    Layout,
    Residues,
    Values,
    apart,
    laid_out,
    marked,
)
from privacy.plans import defined
from service.fhir import kinds

Resource = dict[str, Any]
Parse = Callable[[bytes], Resource]
Make = Callable[[Values], Resource]

# What is looked at of a resource, and what of each part of it: what it is, whose, whether we wrote
# it, what medicine it is about; and when it happened (`service.pipeline.asof`).
_PERIOD = ("start", "end")
_LOOKED: dict[str, tuple[str, ...]] = {
    "id": (),
    "meta": ("versionId", "lastUpdated"),
    "identifier": ("system",),
    "subject": ("reference",),
    "patient": ("reference",),
    "medicationReference": ("reference",),
    "effectiveDateTime": (),
    "effectiveInstant": (),
    "effectivePeriod": _PERIOD,
    "onsetDateTime": (),
    "onsetPeriod": _PERIOD,
    "recordedDate": (),
    "period": _PERIOD,
    "performedDateTime": (),
    "performedPeriod": _PERIOD,
    "authoredOn": (),
    "occurrenceDateTime": (),
}
_APART = -1  # no owner by whom lines would be told apart
_WHOSE = ("id", "subject", "patient")  # all that is looked at as it comes in
_VALUE = re.compile(r"v\[([0-9]+)\]")
# Of these more is asked: who it is, and how images were acquired. An outcome says what is missing.
_WHOLE = frozenset({"Patient", "ImagingStudy", "OperationOutcome", "Bundle"})


class Brief(NamedTuple):
    """What a resource is and whose, of lines of one residue."""

    wanted: bytes  # which of the values; these two are read in C, so they stand first
    apart: int
    make: Make


class Known(NamedTuple):
    """What lines of one residue have in common. Nothing of any patient."""

    layout: Layout
    references: tuple[int, ...]  # which of the values are references, of any kind
    make: Make
    brief: Brief


class Alike(NamedTuple):
    """The same while one source is read: what repeats in its lines stands in the residue."""

    wanted: bytes  # all values; these two are read in C, so they stand first
    apart: int
    known: Known
    residue: bytes


class Outline(dict[str, Any]):
    """Elements of a resource, and its line."""

    __slots__ = ("alike", "cut", "line")

    def __init__(self, alike: Alike, line: bytes, cut: Values) -> None:
        super().__init__(alike.known.make(cut))
        self.alike, self.line, self.cut = alike, line, cut


class Outlines:
    """Of the lines of one source, that they need not be parsed. Grows with what differs in them."""

    def __init__(self, stays: Callable[[str], bool] = lambda reference: True) -> None:
        """`stays`: whether a reference is what it has to be; a line with another is parsed."""
        self._alike = Finder[Alike]()
        self._stays = stays

    def of(self, lines: Sequence[bytes]) -> list[Outline | None]:
        """None for those that have to be parsed."""
        found: list[Outline | None] = [None] * len(lines)
        groups, others = self._alike.groups(lines)
        for alike, values, places in chain(groups, self._learned(lines, others)):
            if self._are_plain(alike, values):
                for at, one in zip(places, values, strict=True):
                    found[at] = Outline(alike, lines[at], one)
        return found

    def _are_plain(self, alike: Alike, values: list[Values]) -> bool:
        columns: list[tuple[Any, ...]] = list(zip(*values, strict=True))
        return all(map(self._stays, set().union(*[columns[at] for at in alike.known.references])))

    def _learned(self, lines: Sequence[bytes], others: Iterable[int]) -> Iterator[Group[Alike]]:
        """Of lines that nothing is known of yet."""
        by_residue: dict[bytes, tuple[list[Values], list[int]]] = {}
        for at in others:
            parts = apart(lines[at])
            if parts is not None:
                values, places = by_residue.setdefault(parts[0], ([], []))
                values.append(parts[1])
                places.append(at)
        for residue, (values, places) in by_residue.items():
            known = _KNOWN.of(residue, repeats=len(places) > 1)
            if known is not None:
                alike = Alike(bytes(range(len(values[0]))), _APART, known, residue)
                self._alike.plant(residue, alike)
                yield alike, values, places


class Briefs:
    """What lines that come in are, and whose: of one source, because what repeats in them is held
    on to. Threads share it."""

    def __init__(self) -> None:
        self._known = Finder[Brief]()

    def of(self, line: bytes) -> Resource | None:
        """None where it has to be parsed."""
        found = self._known.find(line)
        return None if found is None else found[0].make(found[1])

    def learn(self, line: bytes) -> None:
        """Of one that is parsed: the third of its like need not be."""
        parts = apart(line)
        known = None if parts is None else _KNOWN.of(parts[0], repeats=False)
        if parts is not None and known is not None:
            self._known.plant(parts[0], known.brief)


class Lined(Sequence[Resource]):
    """Looked at, each is whole; changing one changes nothing in here."""

    def __init__(self, looked: Sequence[Resource], parse: Parse) -> None:
        """`looked`: outlines, and whole resources."""
        self.looked, self._parse = looked, parse

    def __len__(self) -> int:
        return len(self.looked)

    def __iter__(self) -> Iterator[Resource]:
        return map(self._whole, self.looked)

    @overload
    def __getitem__(self, index: int) -> Resource: ...
    @overload
    def __getitem__(self, index: slice) -> "Lined": ...
    def __getitem__(self, index: int | slice) -> "Resource | Lined":
        if isinstance(index, slice):
            return Lined(self.looked[index], self._parse)
        return self._whole(self.looked[index])

    def only(self, test: Callable[[Resource], bool]) -> "Lined":
        """Those that pass, by their outlines where they have one."""
        return Lined(list(filter(test, self.looked)), self._parse)

    def deidentified(self, session: Session) -> Iterator[list[Any]]:
        """Records, together where their lines are alike; what was refused stands by itself."""
        outlined, others = self._sorted()
        for one in others:  # with the Patient, by whom it may be that all the others are judged
            yield [session.apply(one)]
        for some in outlined:
            lines, values = [one.line for one in some], [one.cut for one in some]
            yield from session.alike_apart(some[0].alike.residue, lines, values, self._parse)

    def identifying(self) -> IdentifyingValues:
        """What identifies in them, as the gate collects it."""
        texts = no_texts()
        outlined, others = self._sorted()
        for some in outlined:
            some[0].alike.known.layout.add([one.cut for one in some], texts)
        return collect(others, texts).values

    def _sorted(self) -> tuple[list[list[Outline]], list[Resource]]:
        """Outlines of one residue together, and the others."""
        groups: dict[int, list[Outline]] = defaultdict(list)
        others: list[Resource] = []
        for one in self.looked:
            if isinstance(one, Outline):
                groups[id(one.alike)].append(one)
            else:
                others.append(one)
        return list(groups.values()), others

    def _whole(self, one: Resource) -> Resource:
        return self._parse(one.line) if isinstance(one, Outline) else one


def looked_at(resources: Sequence[Resource]) -> Sequence[Resource]:
    """For those who need no more of a resource than its outline."""
    return resources.looked if isinstance(resources, Lined) else resources


# Learning -----------------------------------------------------------------------------------------


def _known(residue: bytes) -> Known | None:
    source = marked(residue)
    layout = None if source is None else laid_out(source, residue)
    if source is None or layout is None or not _is_usual(source):
        return None
    references = tuple(slot.at for slot in layout.slots if slot.key == "reference")
    try:
        return Known(layout, references, _function(_spelled(_looked(source))), _brief(source))
    except _NotOutlinedError:
        return None


def _is_usual(source: Resource) -> bool:
    """What was withdrawn says so in what repeats, which an outline does not hold."""
    return source["resourceType"] in RESOURCE_TYPES - _WHOLE and kinds.withdrawn(source) is None


def _looked(source: Resource, names: Iterable[str] = tuple(_LOOKED)) -> Resource:
    parts = {name: _part(source[name], _LOOKED[name]) for name in names if name in source}
    return {"resourceType": source["resourceType"], **parts}


def _part(node: Any, names: Collection[str]) -> Any:
    """Only texts matter, and only where one would look for them."""
    if type(node) is list:
        return [_part(inner, names) for inner in node]
    if type(node) is dict:
        return {name: node[name] for name in names if type(node.get(name)) is str}
    return node if type(node) is str else None


class _NotOutlinedError(Exception):
    """Something in it is not cut out: it may be one patient's, as nobody has judged it."""


def _brief(source: Resource) -> Brief:
    wanted: list[int] = []

    def place(found: re.Match[str]) -> str:
        wanted.append(int(found[1]))
        return f"v[{len(wanted) - 1}]"

    text = _VALUE.sub(place, _spelled(_looked(source, _WHOSE)))
    return Brief(bytes(wanted), _APART, _function(text))


def _spelled(node: Any) -> str:
    """As Python, each mark as the value that it stands for."""
    if type(node) is dict:
        return f"{{{', '.join(f'{key!r}: {_inner(key, inner)}' for key, inner in node.items())}}}"
    if type(node) is list:
        return f"[{', '.join(map(_spelled, node))}]"
    if type(node) is str and node.startswith(MARK):
        return f"v[{int(node[1:])}]"
    if node is None:
        return "None"
    raise _NotOutlinedError


def _inner(key: str, node: Any) -> str:
    return repr(node) if key == "resourceType" else _spelled(node)


@lru_cache(LAYOUTS)
def _function(text: str) -> Make:
    """Of many residues, which differ in codes, it is the same."""
    make: Make = defined(f"def make(v):\n    return {text}", "outline", {})["make"]
    return make


_KNOWN = Residues(_known)
