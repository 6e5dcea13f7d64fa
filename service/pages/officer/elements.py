"""Show me this element: rule, legal basis, reason, what it did, the type before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import render_template

from privacy.errors import PolicyError
from service.office import elements as paths
from service.pages.officer.frame import (
    OFFICER,
    choice,
    matching,
    office,
    officer,
    only,
    page_asked,
)
from service.pages.officer.twins import action_words
from service.stores.ledger_index import EntryFilter, Place, entry_of, is_at
from service.web.errors import WebError
from service.web.ports import Failure

LATEST = 25  # twins in whose entries an element is looked up for one page
WORDS = r"[A-Za-z0-9 ./\[\]_-]{1,120}"


@officer.get("/elements")
@OFFICER
def elements() -> str:
    only("q", "type")
    pages = page_asked()
    kind = choice("type", paths.types())
    asked = matching("q", WORDS, "Letters, digits, dots and spaces, as in Observation.value.")
    found = paths.search(asked or "", kind)
    places = office().index.places(kind)
    return render_template(
        "officer/elements.html",
        asked=asked or "",
        types=paths.types(),
        found=[
            (path, paths.catalogue()[path], paths.judged(path)[0], sum(c.leaves for c in counted))
            for path in found[pages.offset : pages.offset + pages.size]
            for counted in [paths.counted(_of(places, path), path)]
        ],
        pages=pages.of(len(found)),
        everything=len(paths.catalogue()),
        default_policy=paths.DEFAULT,
    )


@officer.get("/elements/<path>")
@OFFICER
def element(path: str) -> str:
    only()
    desk, pages = office(), page_asked(LATEST)
    try:
        judged = paths.judged(path)
    except PolicyError as error:
        # The error names elements of R4 and nothing of the address.
        raise WebError(Failure.NOT_FOUND, next_step=f"{error}.") from None
    kind, _, inner = path.partition(".")
    places = paths.counted(desk.index.places(kind), path)
    made, total = desk.index.entries(
        EntryFilter(event="twin-made"), limit=pages.size, offset=pages.offset
    )
    lines = {e["seq"]: e for e in map(entry_of, desk.ledger.entries([m.seq for m in made]))}
    at = {place.path for place in places} | {inner}
    return render_template(
        "officer/element.html",
        path=path,
        type=paths.catalogue().get(path, judged[0].found.type),
        judged=judged,
        places=[(place, action_words(place.action)) for place in places],
        last=max((place.last for place in places), default=None),
        twins=[(entry, _in(lines[entry.seq], kind, at)) for entry in made],
        pages=pages.of(total),
        action_words=action_words,
    )


def _of(places: Sequence[Place], path: str) -> list[Place]:
    kind = path.partition(".")[0]
    return [place for place in places if place.type == kind]


def _in(entry: Mapping[str, Any], kind: str, at: set[str]) -> list[tuple[str, int]]:
    """What one entry counted at these places, by action."""
    found: dict[str, int] = {}
    for item in entry.get("counts", ()):
        if item["type"] == kind and any(is_at(item["path"], one) for one in at):
            found[item["action"]] = found.get(item["action"], 0) + item["n"]
    return [(action_words(action), n) for action, n in sorted(found.items())]
