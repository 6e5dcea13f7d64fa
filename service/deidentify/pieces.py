"""A Bundle of which most entries are not parsed, because the like of them was read before.

What identifies in these is collected by their layout (`privacy.layouts`); the others are parsed and
walked through, as all are where a Bundle is read as a whole (`reading`).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from privacy.forms import Apart
from privacy.gate import Texts, no_texts
from privacy.layouts import Layout, Layouts, Values, all_apart, split
from service.deidentify.people import Owners

MARK = "\x01"
"""Stands in a frame for a resource. Nothing else in it can be that: of a Bundle in pieces nothing
is spelled with a backslash but what stands in its resources."""
Resource = dict[str, Any]
_MARKED = orjson.dumps(MARK)
_LAYOUTS = Layouts()


class Pieces(NamedTuple):
    """A Bundle, parsed, without its resources; and these."""

    frame: Any
    lines: list[bytes]


def in_pieces(data: bytes) -> Pieces | None:
    """None where it has to be read as a whole; perhaps it is no Bundle, or no JSON at all."""
    pieces = split(data)
    if pieces is None or len(pieces) == 1:
        return None
    around = _MARKED.join(pieces[::2])
    try:
        frame = orjson.loads(around)
    except orjson.JSONDecodeError:
        return None
    # Written again it is the same: parsing has lost nothing of it.
    return Pieces(frame, pieces[1::2]) if orjson.dumps(frame) == around else None


class Laid:
    """The resources of one input: texts of those that need not be parsed, and which others do."""

    def __init__(self, lines: list[bytes]) -> None:
        self.texts: dict[str, Texts] = defaultdict(no_texts)  # by owner; nobody's under ""
        self._lines, self._owners = lines, Owners()
        self._parts = all_apart(lines)
        self._others = [at for at, part in enumerate(self._parts) if part is None]
        for residue, places in _alike(self._parts).items():
            layout = _LAYOUTS.of(residue, repeats=len(places) > 1)
            if layout is None:
                self._others += places
            else:
                self._take(layout, [part[1] for at in places if (part := self._parts[at])])

    def others(self) -> list[bytes]:
        """What has to be parsed."""
        return [self._lines[at] for at in self._others]

    def with_parsed(self, others: list[Any]) -> list[Any]:
        """All resources in their order; those that were not parsed as `Apart`."""
        parsed = dict(zip(self._others, others, strict=True))
        return [
            Apart(line, *part) if part is not None and at not in parsed else parsed[at]
            for at, (line, part) in enumerate(zip(self._lines, self._parts, strict=True))
        ]

    def _take(self, layout: Layout, lines: list[Values]) -> None:
        said = layout.said(lines)
        if len(said) > 1:  # which is rare: they are of several patients
            for line in lines:
                self._take(layout, [line])
            return
        owner = next(filter(None, map(self._owners.named, *said)), "")
        layout.add(lines, self.texts[owner], days=False)  # nobody looks for days in files


def _alike(parts: Iterable[tuple[bytes, Values] | None]) -> dict[bytes, list[int]]:
    """By residue, which have it."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for at, part in enumerate(parts):
        if part is not None:
            places[part[0]].append(at)
    return places
