"""Resources of one patient that are kept as the lines they came in, most of them never parsed.

A line of which the like was read before is cut (`privacy.layouts`); of what was cut out an
`Outline` is made: the few elements by which a resource is sorted, dated and told from our own. The
de-identifier knows such a line by its form, and what identifies in it is collected by its layout.
Whoever wants all of a resource has its line parsed.

Whatever is unusual has no outline and is parsed at once, as all lines are where Twinport was
installed without a C compiler.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, overload

from privacy.deidentify import Session
from privacy.elements import RESOURCE_TYPES
from privacy.forms import Apart, published
from privacy.gate import IdentifyingValues, collect, no_texts
from privacy.layouts import (
    LAYOUTS,
    MARK,
    Layout,
    Residues,
    Values,
    apart,
    laid_out,
    marked,
)
from privacy.plans import defined
from service.fhir import kinds
from service.fhir.kinds import KINDS

Resource = dict[str, Any]
Parse = Callable[[bytes], Resource]
Make = Callable[[Values], Resource]

# By these a resource is known and told from our own, and a medicine found.
_ALWAYS = ("id", "meta", "identifier", "medicationReference")
# When something happened: `service.pipeline.asof` says where.
DATED = frozenset({
    "effectiveDateTime", "effectiveInstant", "effectivePeriod", "onsetDateTime", "onsetPeriod",
    "recordedDate", "period", "performedDateTime", "performedPeriod", "authoredOn", "started",
    "occurrenceDateTime",
})  # fmt: skip
# Of these more is asked: who it is, and how images were acquired. An outcome says what is missing.
_WHOLE = frozenset({"Patient", "ImagingStudy", "OperationOutcome", "Bundle"})


class Known(NamedTuple):
    """What lines of one residue have in common. Nothing of any patient."""

    layout: Layout
    references: tuple[int, ...]  # which of the values are references, of any kind
    make: Make


class Outline(dict[str, Any]):
    """Elements of a resource, and its line."""

    __slots__ = ("apart", "known")

    def __init__(self, known: Known, found: Apart) -> None:
        super().__init__(known.make(found.values))
        self.known, self.apart = known, found

    @property
    def references(self) -> Iterator[Any]:
        return map(self.apart.values.__getitem__, self.known.references)


def outlines(lines: Iterable[bytes]) -> list[Outline | None]:
    """None for those that have to be parsed."""
    cut = list(map(_cut, lines))
    times = Counter(one.residue for one in cut if one is not None)
    known = {residue: _KNOWN.of(residue, repeats=n > 1) for residue, n in times.items()}
    return [
        None if one is None or (how := known[one.residue]) is None else Outline(how, one)
        for one in cut
    ]


def _cut(line: bytes) -> Apart | None:
    parts = apart(line)
    return None if parts is None else Apart(line, *parts)


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
            yield from session.alike_apart((one.apart for one in some), self._parse)

    def identifying(self) -> IdentifyingValues:
        """What identifies in them, as the gate collects it."""
        texts = no_texts()
        outlined, others = self._sorted()
        for some in outlined:
            some[0].known.layout.add([one.apart.values for one in some], texts)
        return collect(others, texts).values

    def _sorted(self) -> tuple[list[list[Outline]], list[Resource]]:
        """Outlines of one residue together, and the others."""
        groups: dict[bytes, list[Outline]] = defaultdict(list)
        others: list[Resource] = []
        for one in self.looked:
            if isinstance(one, Outline):
                groups[one.apart.residue].append(one)
            else:
                others.append(one)
        return list(groups.values()), others

    def _whole(self, one: Resource) -> Resource:
        return self._parse(one.apart.line) if isinstance(one, Outline) else one


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
    make = _maker(source["resourceType"], source)
    return None if make is None else Known(layout, references, make)


def _is_usual(source: Resource) -> bool:
    """What was withdrawn says so in what repeats, which an outline does not hold."""
    return source["resourceType"] in RESOURCE_TYPES - _WHOLE and kinds.withdrawn(source) is None


class _NotOutlinedError(Exception):
    """There is something in it that is not cut out and not ours, or that cannot be put back."""


def _maker(kind: str, source: Resource) -> Make | None:
    """A function that puts values in their places. It holds names and places alone: what repeats
    in lines may be one patient's, as long as nobody has judged it."""
    subject = KINDS[kind].subject if kind in KINDS else ()
    wanted = sorted({*_ALWAYS, *subject, *DATED} & source.keys())
    try:
        parts = [f"{key!r}: {_spelled(source[key])}" for key in wanted]
    except _NotOutlinedError:
        return None
    return _function(f"{{'resourceType': {kind!r}, {', '.join(parts)}}}")


@lru_cache(LAYOUTS)
def _function(text: str) -> Make:
    """Of many residues, which differ in codes, it is the same."""
    make: Make = defined(f"def make(v):\n    return {text}", "outline", {})["make"]
    return make


def _spelled(node: Any) -> str:
    """As Python, each mark as the value that it stands for."""
    if type(node) is dict and published().issuperset(node):
        return f"{{{', '.join(f'{key!r}: {_spelled(inner)}' for key, inner in node.items())}}}"
    if type(node) is list:
        return f"[{', '.join(map(_spelled, node))}]"
    if type(node) is str and node.startswith(MARK):
        return f"v[{int(node[1:])}]"
    if node is None or type(node) is bool:
        return repr(node)
    raise _NotOutlinedError


_KNOWN = Residues(_known)
