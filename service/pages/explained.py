"""One concept of a twin, back to its facts.

What the state makes of it; every value with its source, unit and conversion; what was set aside;
how complete the record is there; and which models read it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from service.pages import courses, record, words
from service.pages.series import signal_chart
from service.pages.signals import series
from service.pages.times import TwinClock
from twin_engine.explain import Aside, Conversion, Entry, Explanation, Reader, Value
from twin_engine.state import Missing, Presence, Reading, Usual

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """Which resource of the record a fact came from; `anchor` is its place on the page."""

    anchor: str
    type: str
    pseudonym: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One value or entry; `lines` is what the second click shows."""

    source: Source
    value: str
    when: str
    how: str
    use: str
    used: bool
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Unused:
    source: Source
    when: str
    why: str


@dataclass(frozen=True, slots=True)
class ReadBy:
    model: str
    input: str
    window: str
    fresh: str
    used: bool


@dataclass(frozen=True, slots=True)
class Explained:
    kind: str
    title: str
    unit: str
    now: Sequence[tuple[str, str]]
    chart: Markup
    band: str
    basis: str
    censored: bool
    facts: Sequence[Fact]
    set_aside: Sequence[Unused]
    conflicts: Sequence[str]
    slices: Sequence[record.Slice]
    readers: Sequence[ReadBy]


KINDS = {
    "number": "Measurement",
    "answer": "Answer",
    "condition": "Condition group",
    "medication": "Medicine class",
    "procedure": "Procedure group",
    "immunization": "Vaccine against",
}
STANDING = {
    "current": "current",
    "past": "ended",
    "doubtful": "not confirmed",
    "never": "ruled out or not taken",
}


def explained(one: Explanation, document: Json, cards: Mapping[str, Json]) -> Explained:
    clock = TwinClock.of(document)
    slices = record.slices({"completeness": {"slices": one.slices}})
    facts = [*(_fact(v, one, clock, slices) for v in one.values)]
    facts += [_entry(e, clock, slices) for e in one.entries]
    return Explained(
        kind=KINDS[one.kind],
        title=words.concept(one.name) if one.kind == "number" else one.label,
        unit=words.unit(one.unit),
        now=list(_now(one, clock)),
        chart=_chart(one, document, clock),
        band=_band(one),
        basis=one.course.basis.citation if one.course and one.course.basis else "",
        censored=any(v.comparator for v in one.values),
        facts=facts,
        set_aside=[_aside(a, clock) for a in one.set_aside],
        conflicts=[_conflict(c, clock) for c in one.conflicts],
        slices=slices,
        readers=[_reader(r, cards) for r in one.readers],
    )


# -- what the state says ---------------------------------------------------------------------------


def _now(one: Explanation, clock: TwinClock) -> Iterator[tuple[str, str]]:
    """Label and sentence, the most asked for first."""
    if one.latest is not None:
        yield "Latest", _latest(one, clock)
    if one.course is not None:
        yield from (
            (label, sentence)
            for label, sentence in (
                ("How sure", courses.again(one.course)),
                ("Usual", _usual(one)),
                ("Change", courses.change(one.course)),
                ("Trend", courses.trend(one.course)),
            )
            if sentence
        )
    if one.presence is not None:
        yield "Now", _presence(one.presence, clock)


def _latest(one: Explanation, clock: TwinClock) -> str:
    latest = one.latest
    if isinstance(latest, Missing):
        return f"none: {courses.MISSING[latest.reason]}"
    assert latest is not None
    when = clock.ago(latest.t, latest.precision)
    if not isinstance(latest, Reading):
        return f"{words.plain(latest.code).lower()}, {when}"
    mean = f" (mean of {latest.n} readings of that moment)" if latest.n > 1 else ""
    shown = words.measured(latest.value, latest.unit, words.decimals(one.name))
    return f"{shown}, {when}{mean}"


def _usual(one: Explanation) -> str:
    usual, course = one.usual, one.course
    if not isinstance(usual, Usual) or course is None:
        return ""
    level = words.measured(usual.value, usual.unit, words.decimals(one.name))
    days = words.counted(usual.n, "day")
    span = f"; {courses.span(course.usual_span, course)} if measured again" if (
        course.usual_span and isinstance(course.latest, Reading)
    ) else ""  # fmt: skip
    return f"{level} over the last 12 months, {days} with readings{span}"


def _presence(presence: Presence, clock: TwinClock) -> str:
    since = f", first {clock.ago(presence.since)}" if presence.since is not None else ""
    return f"{courses.ANSWER[presence.value]}: {courses.PRESENCE[presence.reason]}{since}"


def _chart(one: Explanation, document: Json, clock: TwinClock) -> Markup:
    columns = document["signals"].get(one.name, {}) if one.kind == "number" else {}
    drawn = series(one.name, columns, document["quality"], clock, one.course)
    if one.kind != "number" or not (drawn.points or drawn.aside):
        return Markup("")
    return signal_chart("course", one.label, words.unit(one.unit), drawn)


def _band(one: Explanation) -> str:
    course = one.course
    if course is None or course.usual_span is None or not isinstance(course.latest, Reading):
        return ""
    return f"{courses.span(course.usual_span, course)}: the usual level, if measured again (95 %)"


# -- facts -----------------------------------------------------------------------------------------


def _fact(value: Value, one: Explanation, clock: TwinClock, slices: Sequence[Any]) -> Fact:
    shown = value.value
    if not isinstance(shown, str):
        digits = words.measured(shown, "1", words.decimals(one.name))
        shown = f"{value.comparator}{digits}"
    else:
        shown = words.plain(shown).lower()
    status = "" if value.status == "final" else f", {words.plain(value.status).lower()}"
    return Fact(
        source=_source(value.source),
        value=shown,
        when=clock.ago(value.t, value.precision),
        how=words.HOW.get(value.origin, "recorded") + status,
        use={"latest": "the latest", "earlier": "earlier"}.get(value.use, "")
        or courses.NOT_USED[value.use],
        used=value.use in {"latest", "earlier"},
        lines=[
            *_arrival(value, one),
            *_beside(value, one),
            *_slice_lines(value.source.type, slices),
        ],
    )


def _source(found: Any) -> Source:
    return Source(f"f-{found.position}", found.type, found.id)


def _arrival(value: Value, one: Explanation) -> Iterator[tuple[str, str]]:
    if one.kind != "number":
        return
    if value.conversion is not None:
        yield "Unit it came in", words.unit(value.conversion.arrived) or "none needed"
        yield "Conversion", _conversion(value.conversion, one)
        yield "Rule from", value.conversion.source
    elif value.arrived:
        yield "Unit it came in", "another spelling, which was not kept"
        yield "Conversion", "done when the record was read; its rule can't be shown"
    else:
        yield "Unit it came in", f"{words.unit(one.unit) or 'none needed'}, as it is kept"
        yield "Conversion", "none"


def _beside(value: Value, one: Explanation) -> Iterator[tuple[str, str]]:
    """What the source said besides. For whom its range holds is not told, so it judges nothing."""
    if value.flag:
        yield "The source called it", value.flag
    if value.range:
        ends = (value.range.get("low"), value.range.get("high"))
        low, high = ("" if e is None else words.measured(e, "1") for e in ends)
        span = f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}"
        yield "Reference range of the source", f"{span} {words.unit(one.unit)}".strip()
    if value.site:
        yield "Where on the body", value.site
    if value.method:
        yield "How it was measured", value.method


def _conversion(rule: Conversion, one: Explanation) -> str:
    unit = words.unit(one.unit)
    places = words.counted(rule.decimals, "decimal")
    if (rule.factor, rule.offset) == (1, 0):
        return f"the same unit, written {rule.arrived}; kept with {places}"
    offset = f" {'+' if rule.offset > 0 else '−'} {abs(rule.offset):g}" if rule.offset else ""
    return f"× {rule.factor:g}{offset} gives {unit}; kept with {places}"


def _slice_lines(kind: str, slices: Sequence[record.Slice]) -> Iterator[tuple[str, str]]:
    for part in slices:
        if part.type == kind:
            reason = f": {part.reason}" if part.reason else ""
            pages = words.counted(part.pages, "page")
            yield "Completeness there", f"{part.verdict}{reason}; {part.received} in {pages}"


def _entry(entry: Entry, clock: TwinClock, slices: Sequence[Any]) -> Fact:
    fact = entry.fact
    code = f"{fact['system']} {fact['code']}" if "code" in fact else "no code we read"
    keys = ("onsetPrecision", "startPrecision", "precision")
    precision = next((fact[key] for key in keys if key in fact), "day")
    said = [fact[key] for key in ("clinical", "verification", "status") if key in fact]
    return Fact(
        source=_source(entry.source),
        value=code,
        when=clock.ago(entry.t, precision) or "undated",
        how=", ".join(words.plain(word).lower() for word in said),
        use=STANDING[entry.standing],
        used=entry.standing == "current",
        lines=list(_slice_lines(entry.source.type, slices)),
    )


def _aside(aside: Aside, clock: TwinClock) -> Unused:
    return Unused(_source(aside.source), clock.ago(aside.t) or "undated", aside.sentence)


def _conflict(conflict: Mapping[str, Any], clock: TwinClock) -> str:
    return f"{conflict['n']} different values {clock.ago(conflict['t'])}"


def _reader(reader: Reader, cards: Mapping[str, Json]) -> ReadBy:
    fresh = {True: "fresh enough", False: "nothing usable inside", None: ""}[reader.fresh]
    return ReadBy(
        model=words.model_title(reader.model, cards.get(reader.model, {})),
        input=words.model_input(reader.input),
        window=f"not older than {words.span(reader.window_days)}" if reader.window_days else "",
        fresh=fresh,
        used=reader.used,
    )


# -- from an input of a model to its concept -------------------------------------------------------


def concept_of(used: Json, declared: Sequence[Json], document: Json) -> str:
    """The name that explains an input: of the declared ones, that which holds one of its facts;
    of a computed one, the measurement it was computed of."""
    names = list(_names(declared))
    sources = set(used.get("src", ()))
    holding = (n for n in [*names, *document["signals"]] if sources & _held(n, document))
    return next(holding, names[0] if names else "")


def _names(declared: Sequence[Json]) -> Iterator[str]:
    for source in declared:
        for key in ("concept", "coded"):
            if key in source:
                yield source[key]
        for key in ("condition", "medication", "procedure"):
            yield from source.get(key, ())


def _held(name: str, document: Json) -> set[int]:
    columns = document["signals"].get(name) or document["coded"].get(name) or {}
    held = set(columns.get("src", ()))
    for part in ("conditions", "medications", "procedures"):
        held |= {
            entry["src"]
            for entry in document[part]
            if entry.get("group") == name or name in entry.get("classes", ())
        }
    return held
