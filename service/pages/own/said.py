"""Entries of a twin in everyday words, each with the place by which it can be disputed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.pages import record, words
from service.pages.times import TwinClock
from service.patient.disputes import ENTRIES, Standing, facts_at
from service.stores.disputes import Place
from twin_engine.document.lineage import rows, source_ids

Json = Mapping[str, Any]
LISTS = ("conditions", "medications", "procedures", "allergies", "immunizations")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing the record says. `dispute`: that it is disputed, and how that stands."""

    place: Place
    title: str
    when: str
    dispute: Standing | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A dispute in words: what the entry said, and what it says now."""

    id: str
    what: str
    before: str
    after: str
    state: str
    reason: str


Disputed = Mapping[tuple[str, str], Standing]


def disputed(standings: Sequence[Standing]) -> Disputed:
    """By source and name."""
    return {_key(one.dispute.place): one for one in standings}


def _key(place: Place) -> tuple[str, str]:
    return place.source, place.name


# -- what is in it ---------------------------------------------------------------------------------


def values(document: Json, concept: str, found: Disputed) -> list[Entry]:
    """Every value of one measurement or answer, newest first."""
    ids, clock = source_ids(document), TwinClock.of(document)
    made = []
    for part in ("signals", "coded"):
        column = document[part].get(concept)
        for src, fact in reversed(list(rows(column)) if column else []):
            place = Place(ids[src], part, concept)
            title = value_words(concept, fact, column.get("unit", ""))
            made.append(Entry(place, title, when(fact, clock), found.get(_key(place))))
    return made


def entries(document: Json, part: str, found: Disputed) -> list[Entry]:
    """Illnesses, medicines, operations, vaccines ...: one line for each entry of the record."""
    assert part in ENTRIES
    ids, made = source_ids(document), dict[Place, Entry]()
    for entry in document.get(part, ()):
        place = Place(ids[entry["src"]], part, _name(entry))
        made.setdefault(
            place, Entry(place, _entry_words(part, document, entry), "", found.get(_key(place)))
        )
    return list(made.values())


def _name(entry: Json) -> str:
    return str(entry.get("group") or next(iter(_several(entry)), "") or "entry")


def _several(entry: Json) -> Sequence[str]:
    found: Sequence[str] = entry.get("classes") or entry.get("against", ())
    return found


def _entry_words(part: str, document: Json, entry: Json) -> str:
    alone = {**document, part: [entry]}
    items = {
        "conditions": lambda: record.conditions(alone, words.everyday_condition),
        "medications": lambda: record.medications(alone),
        "procedures": lambda: record.procedures(alone),
        "allergies": lambda: record.allergies(alone),
        "immunizations": lambda: record.vaccines(alone),
    }[part]()
    item = items[0]
    more = ", ".join(filter(None, (item.state, item.when)))
    return f"{item.title} ({more})" if more else item.title


def value_words(concept: str, fact: Json, unit: str) -> str:
    if "code" in fact:
        return words.plain(fact["code"]).lower()
    shown = words.measured(fact["v"], unit, words.decimals(concept))
    return f"{fact.get('comparator', '')}{shown}"


def when(fact: Json, clock: TwinClock) -> str:
    return clock.ago(fact["t"], fact.get("precision", "day"))


# -- disputes --------------------------------------------------------------------------------------


def told(one: Standing) -> Told:
    place = one.dispute.place
    return Told(
        id=one.dispute.id,
        what=words.capital(what(place)),
        before=says(place, one.seen),
        after=says(place, one.now),
        state=one.state.value,
        reason=one.dispute.reason,
    )


def what(place: Place) -> str:
    if place.part in ("signals", "coded"):
        return words.concept(place.name)
    return words.everyday("part", place.part)


def says(place: Place, document: Json) -> str:
    """What a version of the twin says at a place; empty where it says nothing there."""
    return "; ".join(_fact_words(place, fact, document) for fact in facts_at(document, place))


def _fact_words(place: Place, fact: Json, document: Json) -> str:
    if place.part in ("signals", "coded"):
        unit = document["signals"].get(place.name, {}).get("unit", "")
        return f"{value_words(place.name, fact, unit)}, {when(fact, TwinClock.of(document))}"
    return _entry_words(place.part, document, {**fact, "src": 0})
