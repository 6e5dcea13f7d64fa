"""One value for the clinical content of a twin, however and whenever it was made.

The same patient pulled from another server, under another pseudonym, epoch or software, on another
day, gives the same clinical digest. To that end it is taken over

- sex, the fact of death, and every signal, answer and entry, without pseudonyms and positions;
- times relative to the newest time among these (the epoch is random, `now` is the day of the run);
- numbers as doubles, lists as sets of rows sorted by their own content.

It leaves out the heading, age (it follows `now`), completeness, quality, the unit a value came in,
how an image was acquired (which says nothing about the person, and is had only where an archive may
be asked), changes and assessments. A twin in minutes and one in days differ, as their content does.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from twin_engine.document.lineage import ENTRIES, entries, rows
from twin_engine.document.octets import digest

TIMES = frozenset({"t", "onset", "abatement", "recorded", "start", "end", "deceasedAt"})
SUBJECT = ("sex", "deceased", "deceasedAt", "deceasedPrecision")
INSIDE = frozenset({"series", "measurements"})  # lists of rows within a row
LEFT_OUT = frozenset({"src", "from", "read", "parameters"})

Row = dict[str, Any]


def clinical_digest(document: Mapping[str, Any]) -> str:
    parts = dict(_parts(document))
    anchor = max(_times(parts.values()), default=0)
    content = {
        name: sorted(_canonical(row, anchor) for row in part) for name, part in parts.items()
    }
    joined = b"\n".join(
        name.encode() + b"\n" + b"\n".join(content[name])
        for name in sorted(content)
        if content[name]
    )
    return digest(joined)


def _parts(document: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    subject = document["subject"]
    yield "subject", [{name: subject[name] for name in SUBJECT if name in subject}]
    for part in ("signals", "coded"):
        for concept, column in document[part].items():
            yield f"{part}/{concept}", [_kept(fact) for _, fact in rows(column)]
    for part in ENTRIES:
        yield part, [_kept(entry) for entry in entries(document, part)]


def _kept(row: Mapping[str, Any]) -> Row:
    return {
        name: [_kept(one) for one in value] if name in INSIDE else value
        for name, value in row.items()
        if name not in LEFT_OUT
    }


def _times(parts: Iterable[list[Row]]) -> Iterator[int]:
    for part in parts:
        for row in part:
            for name, value in row.items():
                if name in TIMES:
                    yield value
                elif name in INSIDE:
                    yield from _times([value])


def _canonical(row: Row, anchor: int) -> bytes:
    return orjson.dumps(_moved(row, anchor), option=orjson.OPT_SORT_KEYS)


def _moved(row: Row, anchor: int) -> Row:
    return {name: _moved_value(name, value, anchor) for name, value in row.items()}


def _moved_value(name: str, value: Any, anchor: int) -> Any:
    if name in TIMES:
        return value - anchor
    if name in INSIDE:
        return sorted(
            (_moved(one, anchor) for one in value),
            key=lambda one: orjson.dumps(one, option=orjson.OPT_SORT_KEYS),
        )
    return float(value) if name == "v" else value
