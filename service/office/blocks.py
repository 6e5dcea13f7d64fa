"""What a report is made of, before it is a page or a PDF."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from privacy.explain import Amount
from service.office.proofs import Check


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they say. `mono`: digests and keys."""

    rows: Sequence[tuple[str, str]]
    mono: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Table:
    """`widths` in parts of the whole; the columns named in `right` hold numbers."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[int]
    right: frozenset[int] = frozenset()
    mono: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Checks:
    rows: Sequence[Check]


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do, in order."""

    rows: Sequence[str]


@dataclass(frozen=True, slots=True)
class Amounts:
    """Removed, changed, kept: a bar with its numbers."""

    sums: Mapping[Amount, int]


Block = Text | Facts | Table | Checks | Steps | Amounts


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """`files` travel inside the PDF; `excerpt` stands at the end of the page."""

    title: str
    subject: str
    sections: Sequence[Section]
    files: Mapping[str, bytes] = field(default_factory=dict)
    excerpt: str = ""
