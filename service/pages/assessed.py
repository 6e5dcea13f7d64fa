"""A model's answer, ready to be shown: numbers first, then words; refusals at full size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from markupsafe import Markup

from service.pages import words
from service.pages.charts import Top, contribution_bar, interval_bar
from service.pages.explained import concept_of
from service.pages.times import TwinClock
from service.web.ports import Expiry

Json = Mapping[str, Any]
SHOWN = 6  # contributions named one by one; the rest are added up
NEVER: Mapping[str, Expiry] = {}
_TOPS = (0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Contribution:
    title: str
    share: str
    direction: str
    bar: Markup
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One number with everything that must stand beside it."""

    outcome: str
    title: str
    value: str
    unit: str
    range: str
    no_range: str
    level: str
    bar: Markup
    band: str
    contributions: Sequence[Contribution]
    width: str


@dataclass(frozen=True, slots=True)
class Horizon:
    """The results of one time span: two spans are never mixed."""

    years: float | None
    title: str
    results: Sequence[Result]


@dataclass(frozen=True, slots=True)
class Refusal:
    titles: str
    sentence: str
    about: str


@dataclass(frozen=True, slots=True)
class InputRow:
    """`concept` and `anchor` lead to where the value comes from; empty where it is no fact."""

    title: str
    value: str
    when: str
    how: str
    use: str
    used: bool
    concept: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """`past`: what ended it, where it may no longer be shown as current; else until when it may."""

    id: str
    title: str
    version: str
    variant: str
    answer: str
    horizons: Sequence[Horizon]
    refusals: Sequence[Refusal]
    helps: str
    unseen: str
    inputs: Sequence[InputRow]
    inputs_summary: str
    card: Json
    composite_note: bool
    past: str
    until: str


def assessments(
    document: Json, cards: Mapping[str, Json], ends: Mapping[str, Expiry] = NEVER
) -> list[Assessment]:
    """What every model said, the most useful first; none is left out."""
    names = [(item["model"]["id"], item) for item in sorted(words.shown(document), key=rank)]
    return [assessment(item, document, cards.get(n, {}), ends.get(n)) for n, item in names]


def rank(item: Json) -> tuple[bool, bool, int]:
    """Risks before other numbers, many before few, refusals last."""
    results = item["results"]
    return not results, not any(map(is_share, results)), -len(results)


def assessment(item: Json, document: Json, card: Json, end: Expiry | None = None) -> Assessment:
    model = item["model"]
    inputs = list(_inputs(item, document, card))
    return Assessment(
        id=model["id"],
        title=words.model_title(model["id"], card),
        version=model["version"],
        variant=model.get("variant", ""),
        answer=item["answer"],
        horizons=_horizons(item, card),
        refusals=list(_refusals(item, card)),
        helps=words.model_input(item["helps"]) if "helps" in item else "",
        unseen="; ".join(_unseen(item)),
        inputs=inputs,
        inputs_summary=_summary(inputs, item, TwinClock.of(document)),
        card=card.get("fields", {}),
        composite_note=len({r["outcome"] for r in item["results"]} & _COMPOSITE) > 1,
        past=_ended(end) if end and end.past else "",
        until=f"current for another {words.span(end.days_left)}" if end and not end.past else "",
    )


def _ended(end: Expiry) -> str:
    if end.cause == "shelf-life":
        return f"Past its shelf life by {words.span(-end.days_left)}."
    return f"No longer current: {words.model_input(end.input)} is older than the model accepts."


_COMPOSITE = {"total-cvd", "ascvd", "heart-failure", "chd", "stroke"}


# -- results ---------------------------------------------------------------------------------------


def _horizons(item: Json, card: Json) -> list[Horizon]:
    spans = sorted({r.get("horizonYears") for r in item["results"]}, key=lambda y: y or 0)
    return [_horizon(item, card, years) for years in spans]


def _horizon(item: Json, card: Json, years: float | None) -> Horizon:
    own = [r for r in item["results"] if r.get("horizonYears") == years]
    top = scale_top(own)
    used = {i["input"] for i in item["inputs"]}
    name = f"{item['model']['id']}-{years or 'now'}"
    return Horizon(
        years=years,
        title=f"Within {years:g} years" if years else "Now",
        results=[_result(r, f"{name}-{r['outcome']}", top, used, card) for r in own],
    )


def scale_top(results: Sequence[Json]) -> Top:
    """The common end of the bars of one block: risks from zero, quantities above their highest."""
    highest = max(r.get("interval", {}).get("high", r["value"]) for r in results)
    if is_share(results[0]):
        top = next((top for top in _TOPS if highest <= top), 1.0)
        return Top(top, words.percent(top))
    top = next_round(highest * 1.05 or 1.0)  # a score of no points has no height
    return Top(top, words.number(top))


def next_round(value: float) -> float:
    """The next of 1, 2, 5 (times a power of ten) in tenths: 95 becomes 100, 3.2 becomes 3.5."""
    step = 10 ** floor(log10(value)) / 2
    return float(round(ceil(value / step) * step, 6))


def is_share(result: Json) -> bool:
    """A probability has the unit one and a time span; a score has no span."""
    return result["unit"] == "1" and "horizonYears" in result


def _result(result: Json, name: str, top: Top, used: set[str], card: Json) -> Result:
    interval = result.get("interval")
    low, high = (interval["low"], interval["high"]) if interval else (result["value"],) * 2
    title = words.outcome(result["outcome"], card)
    guided = words.is_guidance(card)
    value = figure(result["value"], result)
    spoken = f"{title}: {value}" + (f", {_range(result)}" if interval else "")
    return Result(
        outcome=result["outcome"],
        title=title,
        value=_guidance(result) if guided else _digits(result),
        unit="%" if is_share(result) else words.unit(result["unit"]),
        range=_range(result) if interval else "",
        no_range="" if interval else _no_range(result),
        level=f"{interval['level'] * 100:.0f} %" if interval else "",
        bar=Markup()
        if guided
        else interval_bar(f"b-{name}", low, result["value"], high, top, spoken),
        band=words.band(result["category"], card) if "category" in result else "",
        contributions=list(_contributions(result.get("contributions", ()), used)),
        width=_width(result.get("width", ())),
    )


def _guidance(result: Json) -> str:
    """What a guideline says, in a word; the sentence stands in the band."""
    return "Other than usual" if result["value"] else "No change"


def _digits(result: Json) -> str:
    """The number alone, as big as it is shown."""
    if is_share(result):
        return words.percent(result["value"]).removesuffix(" %")
    return _quantity(result["value"], result)


def figure(value: float, result: Json) -> str:
    return (
        words.percent(value)
        if is_share(result)
        else (f"{_quantity(value, result)} {words.unit(result['unit'])}".rstrip())
    )


def _quantity(value: float, result: Json) -> str:
    whole = result["unit"] != "1" or value == round(value)
    return f"{value:.0f}" if whole else f"{value:.2f}"


def _range(result: Json) -> str:
    """Both ends in the digits of the number."""
    interval = result["interval"]
    if is_share(result) and result["value"] >= 0.01:
        low, high = (f"{interval[end] * 100:.0f}" for end in ("low", "high"))
    elif is_share(result):
        low, high = (f"{interval[end] * 100:.1f}" for end in ("low", "high"))
    else:
        low, high = (_quantity(interval[end], result) for end in ("low", "high"))
    unit = " %" if is_share(result) else ""
    return f"{low} to {high}{unit} if measured again"


def _no_range(result: Json) -> str:
    reason = result.get("intervalRefused")
    return f"No range: {words.plain(reason).lower()}" if reason else "No range was given"


def _width(width: Sequence[Json]) -> str:
    """Which inputs the range owes its width to, the largest first."""
    shown = [w for w in sorted(width, key=lambda w: -w["share"]) if w["share"] >= 0.1]
    return words.listed(
        f"{words.model_input(w['input'])} ({w['share'] * 100:.0f} %)" for w in shown[:3]
    )


def _contributions(shares: Sequence[Json], used: set[str]) -> Iterator[Contribution]:
    ordered = sorted(shares, key=lambda c: -abs(c["share"]))
    longest = abs(ordered[0]["share"]) if ordered else 1.0
    for item in ordered[:SHOWN]:
        note = "" if item["input"] in used else "not known; the model's term for that"
        yield _contribution(words.model_input(item["input"]), item["share"], longest, note)
    rest = sum(item["share"] for item in ordered[SHOWN:])
    if len(ordered) > SHOWN:
        yield _contribution(f"{len(ordered) - SHOWN} others together", rest, longest, "")


def _contribution(title: str, share: float, longest: float, note: str) -> Contribution:
    sign = "+" if share >= 0 else "−"
    return Contribution(
        title=title,
        share=f"{sign}{abs(share) * 100:.0f} %",
        direction="raises" if share >= 0 else "lowers",
        bar=contribution_bar(share, longest or 1.0),
        note=note,
    )


# -- refusals --------------------------------------------------------------------------------------


def _refusals(item: Json, card: Json) -> Iterator[Refusal]:
    """Outcomes refused for one and the same reason stand together."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for refusal in item["refusals"]:
        groups.setdefault((refusal["reason"], refusal.get("input", "")), []).append(refusal)
    for (reason, about), members in groups.items():
        yield Refusal(
            titles=_titles(members, card),
            sentence=words.refusal(reason),
            about=words.model_input(about) if about else "",
        )


def _unseen(item: Json) -> Iterator[str]:
    """What may stand in a slice that is not complete, by slices."""
    named: dict[tuple[str, ...], list[str]] = {}
    for row in item.get("unseen", ()):
        named.setdefault(tuple(row["slices"]), []).append(words.model_input(row["input"]))
    for slices, inputs in named.items():
        yield f"{words.listed(inputs)} ({words.listed(words.word('type', s) for s in slices)})"


def _titles(refusals: Sequence[Json], card: Json) -> str:
    """`Stroke and heart failure (10 and 30 years)`: outcomes with the same spans together."""
    spans: dict[str, list[str]] = {}
    for refusal in refusals:
        years = refusal.get("horizonYears")
        spans.setdefault(refusal["outcome"], []).extend([f"{years:g}"] if years else [])
    together: dict[tuple[str, ...], list[str]] = {}
    for outcome, years in spans.items():
        together.setdefault(tuple(years), []).append(words.outcome(outcome, card))
    return "; ".join(
        words.listed(titles) + (f" ({words.listed(years)} years)" if years else "")
        for years, titles in together.items()
    )


# -- inputs ----------------------------------------------------------------------------------------


def _inputs(item: Json, document: Json, card: Json) -> Iterator[InputRow]:
    clock = TwinClock.of(document)
    declared = {one["input"]: one["from"] for one in card.get("inputs", ())}
    for used in item["inputs"]:
        sources = used.get("src", ())
        yield InputRow(
            title=words.model_input(used["input"]),
            value=_value(used),
            when=clock.ago(used.get("t")),
            how=words.HOW.get(used["how"], used["how"]),
            use="used" if item["results"] else "read",
            used=True,
            concept=concept_of(used, declared.get(used["input"], ()), document),
            anchor=f"f-{sources[0]}" if sources else "",
        )
    yield from _unused(item, document, card)


def _value(used: Json) -> str:
    value = used.get("value")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, str):
        return words.plain(value) if value else "not known"
    shown = words.measured(value, used.get("unit", "1"), words.decimals(used["input"]))
    return f"{used.get('comparator', '')}{shown}"


def _unused(item: Json, document: Json, card: Json) -> Iterator[InputRow]:
    """Inputs without a usable value: too old, or not there."""
    clock = TwinClock.of(document)
    known = {used["input"] for used in item["inputs"]}
    stale = {r["input"] for r in item["refusals"] if r["reason"] == "stale-input"}
    names = dict.fromkeys(
        [*item["missing"], *(r["input"] for r in item["refusals"] if "input" in r)]
    )
    for name in names:
        if name in known:
            continue
        value, when = last_seen(name, document, clock)
        use = f"too old{_limit(name, card)}" if name in stale else "not used"
        own = next((one["from"] for one in card.get("inputs", ()) if one["input"] == name), ())
        concept = concept_of({}, own, document)
        shown = value or "not in the record"
        yield InputRow(words.model_input(name), shown, when, "", use, False, concept)


def last_seen(name: str, document: Json, clock: TwinClock) -> tuple[str, str]:
    signal = document["signals"].get(name)
    if signal is None:
        return "", ""
    value = words.measured(signal["v"][-1], signal["unit"], words.decimals(name))
    return value, clock.ago(
        signal["t"][-1], signal.get("precision", {}).get(str(len(signal["t"]) - 1), "day")
    )


def _limit(name: str, card: Json) -> str:
    days = next((i["window_days"] for i in card.get("inputs", ()) if i["input"] == name), None)
    return f" (accepted: {words.span(days)})" if days else ""


def _summary(inputs: Sequence[InputRow], item: Json, clock: TwinClock) -> str:
    used = sum(row.used for row in inputs)
    idle = len(inputs) - used
    readings = [
        i["t"]
        for i in item["inputs"]
        if i["how"] in {"measured", "derived", "reported"} and "t" in i
    ]
    oldest = f", oldest reading {clock.ago(min(readings))}" if readings else ""
    return f"{used} inputs read{oldest}; {idle} not usable" if idle else f"{used} inputs{oldest}"
