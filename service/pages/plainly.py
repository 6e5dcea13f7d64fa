"""Results in everyday words: natural frequencies, both sides, the range, what is not counted.

No advice, no alarm, no comparison with anybody called normal. One denominator on the whole page.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from service.pages import words
from service.pages.assessed import is_share
from service.pages.charts import Share, icon_array
from service.pages.speech import counted, text
from twin_engine.models.shelf import Expiry

Json = Mapping[str, Any]
MOST = 3  # inputs named as those that count most
FIXED = frozenset({"age", "sex", "race"})
_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """One result for a person: sentences and, for a share of people, their picture."""

    title: str
    sentence: str
    other_side: str
    range: str
    picture: Markup | None


@dataclass(frozen=True, slots=True)
class Block:
    """Answers of one calculator over one time span."""

    title: str
    answers: Sequence[Answer]
    parts_note: bool


@dataclass(frozen=True, slots=True)
class NoAnswer:
    title: str
    sentence: str
    would_help: str


@dataclass(frozen=True, slots=True)
class Calculator:
    """Everything one model said, and what it is."""

    title: str
    about: str
    omits: str
    used: str
    moves: str
    stays: str
    disputed: str
    blocks: Sequence[Block]
    refused: Sequence[NoAnswer]


def calculators(
    document: Json,
    cards: Mapping[str, Json],
    ends: Mapping[str, Expiry] = _NONE,
    disputed: Mapping[str, int] = _NONE,
) -> list[Calculator]:
    """Those with an answer first. By model: until when an answer holds, and how many of its inputs
    the patient disputes."""
    people = denominator(document)
    found = sorted(words.shown(document), key=lambda item: item["answer"] == "refused")
    return [
        _calculator(
            item,
            cards.get(item["model"]["id"], {}),
            people,
            stays=stays(ends.get(item["model"]["id"])),
            disputed=_disputed(disputed.get(item["model"]["id"], 0)),
        )
        for item in found
    ]


def denominator(document: Json) -> int:
    """One for the whole page: a thousand as soon as any share is below one percent."""
    shares = [r for a in words.shown(document) for r in a["results"] if is_share(r)]
    return 1000 if any(r["value"] < 0.01 for r in shares) else 100


def _calculator(item: Json, card: Json, people: int, *, stays: str, disputed: str) -> Calculator:
    name = item["model"]["id"]
    return Calculator(
        title=words.model_title(name, card),
        about=words.explained("model", name),
        omits=words.explained("omits", name),
        used=words.listed(words.everyday_input(i["input"]) for i in item["inputs"]),
        moves=moves(item["results"]),
        stays=stays,
        disputed=disputed,
        blocks=list(_blocks(item, card, people)),
        refused=list(_refused(item, card)),
    )


def moves(results: Sequence[Json]) -> str:
    """What counted most, and that the answer moves with it; what nobody can change is said."""
    shares = next((r["contributions"] for r in results if r.get("contributions")), ())
    most = sorted(shares, key=lambda one: -abs(one["share"]))[:MOST]
    names = [one["input"] for one in most]
    if not names:
        return ""
    fixed = [words.everyday_input(name) for name in names if name in FIXED]
    told = [text("answer.counts_most", names=words.listed(map(words.everyday_input, names)))]
    if len(fixed) < len(names):
        told.append(text("answer.moves"))
    if fixed:
        told.append(text("answer.fixed", names=words.listed(fixed)))
    return " ".join(told)


def stays(end: Expiry | None) -> str:
    if end is None:
        return ""
    if end.past:
        return text("answer.past")
    return text("answer.stays", span=words.span(end.days_left))


def _disputed(count: int) -> str:
    return counted("answer.disputed", count) if count else ""


def _blocks(item: Json, card: Json, people: int) -> Iterator[Block]:
    spans = sorted({r.get("horizonYears") for r in item["results"]}, key=lambda y: y or 0)
    for years in spans:
        own = [r for r in item["results"] if r.get("horizonYears") == years]
        name = f"{item['model']['id']}-{years or 0:g}"
        yield Block(
            title=text("answer.span", years=f"{years:g}") if years else text("answer.now"),
            answers=[_answer(r, name, card, people) for r in own],
            parts_note=len(own) > 1 and all(is_share(r) for r in own),
        )


def _answer(result: Json, name: str, card: Json, people: int) -> Answer:
    if is_share(result):
        event = words.everyday_outcome(result["outcome"], card)
        return _frequency(result, f"p-{name}-{result['outcome']}", event, people)
    return _measure(result, card)


def _frequency(result: Json, name: str, event: str, people: int) -> Answer:
    years = f"{result['horizonYears']:g}"
    number = round(result["value"] * people)
    told = {"event": event, "people": people, "years": years, "number": number}
    between = _between(result, people)
    picture = text("answer.picture", **told)
    if between:
        picture += f"; {between[0].lower()}{between[1:]}"
    return Answer(
        title=words.capital(event),
        sentence=text("answer.frequency" if number >= 1 else "answer.rare", **told),
        other_side=text("answer.others", others=people - number)
        if number >= 1
        else text("answer.nearly_all"),
        range=between,
        picture=icon_array(name, _share(result, people), picture),
    )


def _share(result: Json, people: int) -> Share:
    value = result["value"] * people
    interval = result.get("interval")
    if interval is None:
        return Share(people, value, value, value)
    return Share(people, value, interval["low"] * people, interval["high"] * people)


def _between(result: Json, people: int) -> str:
    interval = result.get("interval")
    if interval is None:
        return ""
    low, high = (round(interval[end] * people) for end in ("low", "high"))
    if low == high:
        return text("answer.same", low=low, people=people)
    return text("answer.between", low=low, high=high, people=people)


GUIDANCE = ("answer.usual_dose", "answer.other_dose")


def _measure(result: Json, card: Json) -> Answer:
    title = words.capital(words.everyday_outcome(result["outcome"], card))
    if words.is_guidance(card):
        return Answer(title, text(GUIDANCE[int(result["value"])]), "", "", None)
    digits = 2 if result["unit"] == "1" and result["value"] % 1 else 0
    interval = result.get("interval")
    result_words = f"{result['value']:.{digits}f} {words.unit(result['unit'])}".rstrip()
    between = ""
    if interval is not None:
        low, high = (f"{interval[end]:.{digits}f}" for end in ("low", "high"))
        between = text("answer.measure_between", low=low, high=high)
    return Answer(title, text("answer.measure", result=result_words), "", between, None)


def _refused(item: Json, card: Json) -> Iterator[NoAnswer]:
    """One for each reason; outcomes and spans refused for the same reason stand together."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for refusal in item["refusals"]:
        groups.setdefault((refusal["reason"], refusal.get("input", "")), []).append(refusal)
    for (reason, about), members in groups.items():
        events = dict.fromkeys(words.everyday_outcome(r["outcome"], card) for r in members)
        named = words.everyday_input(about) if about else text("answer.a_value")
        yield NoAnswer(
            title=words.capital("; ".join(events)) + _spans(members),
            sentence=words.everyday("reason", reason).replace("{input}", named),
            would_help=_would_help(item, reason, about),
        )


def _spans(members: Sequence[Json]) -> str:
    years = sorted({r["horizonYears"] for r in members if "horizonYears" in r})
    return text("answer.spans", years=words.listed(f"{y:g}" for y in years)) if years else ""


def _would_help(item: Json, reason: str, about: str) -> str:
    fixable = {"missing-input", "stale-input", "censored-input", "set-aside-input"}
    if reason not in fixable or "helps" not in item or item["helps"] == about:
        return ""
    return text("answer.helps", name=words.everyday_input(item["helps"]))
