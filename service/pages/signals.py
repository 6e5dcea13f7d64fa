"""A twin's signals, one row each: the strip of its readings, the latest value, and what moved."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from service.pages import courses, words
from service.pages.series import Band, Point, Series, strip
from service.pages.times import TwinClock
from twin_engine.now import Now, value_now
from twin_engine.state import NOT_FINAL, Missing, State

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
class SetAside:
    """So many values not used, and the rule that says so."""

    count: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Signal:
    """`moved`: what repetition does not explain; `remarks`: what else must stand beside it."""

    id: str
    title: str
    unit: str
    latest: str
    when: str
    brief: str
    category: str
    strip: Markup
    count: int
    moved: str
    remarks: Sequence[str]


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
    clock, state = TwinClock.of(document), State(document)
    for concept, columns in document["signals"].items():
        yield _signal(concept, columns, document["quality"], clock, value_now(state, concept))


def _signal(concept: str, columns: Json, quality: Json, clock: TwinClock, now: Now) -> Signal:
    newest = len(columns["t"]) - 1
    return Signal(
        id=concept,
        title=words.concept(concept),
        unit=words.unit(columns["unit"]),
        latest=value(columns, newest, words.decimals(concept)),
        when=clock.ago(columns["t"][newest], column(columns, "precision", newest) or "day"),
        brief=words.brief(clock.days(columns["t"][newest])),
        category=words.category(concept),
        strip=strip(series(concept, columns, quality, clock, now)),
        count=len(columns["t"]),
        moved=moved(now),
        remarks=list(_remarks(concept, quality, now)),
    )


def moved(now: Now) -> str:
    """Only what is more than repetition would give; without a citable variation, nothing."""
    told = []
    if now.trend and now.trend.limits and now.trend.direction != "no-clear-change":
        told.append(courses.direction(now.trend))
    if now.change and now.change.beyond:
        told.append(f"changed {courses.percent(now.change.share)}")
    return ", ".join(told)


def _remarks(concept: str, quality: Json, now: Now) -> Iterator[str]:
    if isinstance(now.latest, Missing):
        yield f"not used: {courses.MISSING[now.latest.reason]}"
    if aside := sum(item.count for item in set_aside(quality, concept)):
        yield f"{aside} set aside"
    if conflicts := sum(c["concept"] == concept for c in quality["conflicts"]):
        yield words.counted(conflicts, "conflict")


# -- one column ------------------------------------------------------------------------------------


def column(columns: Json, name: str, i: int) -> str:
    """A cell of a sparse column; empty where the default holds."""
    return str(columns.get(name, {}).get(str(i), ""))


def value(columns: Json, i: int, decimals: int | None) -> str:
    shown = words.measured(columns["v"][i], "1", decimals)
    return f"{column(columns, 'comparator', i)}{shown}"


def series(concept: str, columns: Json, quality: Json, clock: TwinClock, now: Now | None) -> Series:
    """Every reading, the crosses of those set aside, and where the usual level lies."""
    readings = enumerate(zip(columns.get("t", ()), columns.get("v", ()), strict=True))
    points = [
        Point(-clock.days(t), v, column(columns, "comparator", i), _unsure(columns, i))
        for i, (t, v) in readings
    ]
    aside = [
        -clock.days(item["t"])
        for item in quality["setAside"]
        if item.get("concept") == concept and "t" in item
    ]
    span = now.usual_span if now else None
    return Series(points, Band(span.low, span.high) if span else Band(None, None), aside)


def _unsure(columns: Json, i: int) -> bool:
    return column(columns, "status", i) in NOT_FINAL


def set_aside(quality: Json, concept: str | None) -> list[SetAside]:
    """Values of one concept (None: of none that we know) that were read and not used."""
    rules = Counter(item["rule"] for item in quality["setAside"] if item.get("concept") == concept)
    return [SetAside(count, words.rule(rule)) for rule, count in sorted(rules.items())]


def unsigned_set_aside(document: Json) -> list[tuple[str, str, SetAside]]:
    """What was set aside of concepts that have no signal: concept, its name, how many and why."""
    quality = document["quality"]
    named = {item.get("concept") for item in quality["setAside"]} - document["signals"].keys()
    return [
        (concept or "", words.concept(concept) if concept else "Other", item)
        for concept in sorted(named, key=str)
        for item in set_aside(quality, concept)
    ]
