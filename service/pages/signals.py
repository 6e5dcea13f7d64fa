"""A twin's signals as small charts with their tables."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from service.pages import words
from service.pages.charts import Band, Point, signal_chart
from service.pages.times import TwinClock

Json = Mapping[str, Any]
# Sections in the order a clinician reads; any other category follows.
_ORDER = (
    "vital",
    "cardiac",
    "renal",
    "metabolic",
    "lipid",
    "haematology",
    "hepatic",
    "respiratory",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of the table: newest first."""

    value: str
    when: str
    notes: str


@dataclass(frozen=True, slots=True)
class SetAside:
    """So many values not used, and the rule that says so."""

    count: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Signal:
    id: str
    title: str
    unit: str
    latest: str
    when: str
    category: str
    chart: Markup
    readings: Sequence[Reading]
    set_aside: Sequence[SetAside]
    conflicts: int


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    signals: Sequence[Signal]


def sections(document: Json) -> list[Section]:
    """The signals by kind, each kind under its title."""
    found = sorted(_signals(document), key=lambda s: (_rank(s.category), s.category, s.title))
    return [
        Section(words.word("category", category), list(group))
        for category, group in groupby(found, key=lambda s: s.category)
    ]


def _rank(category: str) -> int:
    return _ORDER.index(category) if category in _ORDER else len(_ORDER)


def _signals(document: Json) -> Iterator[Signal]:
    clock = TwinClock.of(document)
    for concept, columns in document["signals"].items():
        yield _signal(concept, columns, document["quality"], clock)


def _signal(concept: str, columns: Json, quality: Json, clock: TwinClock) -> Signal:
    decimals, title = words.decimals(concept), words.concept(concept)
    readings = [_reading(columns, i, decimals, clock) for i in range(len(columns["t"]))]
    newest = readings[-1]
    conflicts = [c for c in quality["conflicts"] if c["concept"] == concept]
    return Signal(
        id=concept,
        title=title,
        unit=words.unit(columns["unit"]),
        latest=newest.value,
        when=newest.when,
        category=words.category(concept),
        chart=signal_chart(
            f"s-{concept}", title, words.unit(columns["unit"]), _points(columns, clock), _NO_BAND
        ),
        readings=readings[::-1],
        set_aside=set_aside(quality, concept),
        conflicts=len(conflicts),
    )


# No reference range is drawn: the vocabulary has none with a source.
_NO_BAND = Band(None, None)


def _points(columns: Json, clock: TwinClock) -> list[Point]:
    comparators, status = columns.get("comparator", {}), columns.get("status", {})
    return [
        Point(-clock.days(t), v, comparators.get(str(i), ""), str(i) in status)
        for i, (t, v) in enumerate(zip(columns["t"], columns["v"], strict=True))
    ]


def _reading(columns: Json, i: int, decimals: int | None, clock: TwinClock) -> Reading:
    def column(name: str) -> str:
        return str(columns.get(name, {}).get(str(i), ""))

    value = words.measured(columns["v"][i], "1", decimals)
    return Reading(
        value=f"{column('comparator')}{value}",
        when=clock.ago(columns["t"][i], column("precision") or "day"),
        notes="; ".join(
            _notes(column("comparator"), column("status"), column("origin"), column("from"))
        ),
    )


def _notes(comparator: str, status: str, origin: str, unit: str) -> Iterator[str]:
    if comparator:
        side = "below" if comparator.startswith("<") else "above"
        yield f"only known to lie {side} this limit"
    if status:
        yield f"status: {words.plain(status).lower()}"
    if origin:
        yield words.HOW.get(origin, origin)
    if unit:
        yield f"converted from {words.unit(unit) if unit != 'other' else 'another spelling'}"


def set_aside(quality: Json, concept: str | None) -> list[SetAside]:
    """Values of one concept (None: of none that we know) that were read and not used."""
    rules = Counter(item["rule"] for item in quality["setAside"] if item.get("concept") == concept)
    return [SetAside(count, words.rule(rule)) for rule, count in sorted(rules.items())]


def unsigned_set_aside(document: Json) -> list[tuple[str, SetAside]]:
    """What was set aside of concepts that have no signal to stand beside."""
    quality = document["quality"]
    named = {item.get("concept") for item in quality["setAside"]} - document["signals"].keys()
    return [
        (words.concept(concept) if concept else "Other", item)
        for concept in sorted(named, key=str)
        for item in set_aside(quality, concept)
    ]
