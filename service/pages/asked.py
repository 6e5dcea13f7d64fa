"""What-if questions on the page: the form as it is offered, the answer as it is shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service import whatif
from service.pages import assessed, words

Json = Mapping[str, Any]

GRADES = {
    "association-only": "association only",
    "randomised": "randomised",
    "mechanistic": "mechanistic",
}
KINDS = {
    "if-measured-again": "range if measured again, 95 %",
    "trial-interval": "the trials' interval, 95 %",
    "trial-interval-if-measured-again": "the trials' interval and that of measuring again, 95 %",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One input that may be exchanged; `given` is what was asked with last."""

    name: str
    title: str
    unit: str
    recorded: str
    options: Sequence[tuple[str, str]]
    range: str
    given: str


@dataclass(frozen=True, slots=True)
class Form:
    title: str
    variant: str
    fields: Sequence[Field]
    treatments: Sequence[tuple[str, str]]
    treatment: str


def form(offer: Json, given: Mapping[str, str], treatment: str) -> Form:
    variant = offer["model"]["variant"]
    return Form(
        title=offer["title"],
        variant="" if variant == "published" else variant,
        fields=[_field(one, given.get(one["input"], "")) for one in offer["inputs"]],
        treatments=[(one["treatment"], one["label"]) for one in offer["treatments"]],
        treatment=treatment,
    )


def _field(one: Json, given: str) -> Field:
    unit = one.get("unit", "1")
    ends = [words.number(float(one[end])) for end in ("low", "high") if end in one]
    return Field(
        name=one["input"],
        title=words.model_input(one["input"]),
        unit=words.unit(unit),
        recorded=_recorded(one),
        options=_options(one),
        range=f"{ends[0]} to {ends[1]}" if len(ends) == 2 else "",
        given=given,
    )


def _recorded(one: Json) -> str:
    value = one["value"]
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return words.plain(value).lower()
    return words.measured(round(value, 2), one.get("unit", "1"), words.decimals(one["input"]))


def _options(one: Json) -> Sequence[tuple[str, str]]:
    if one["kind"] == "flag":
        return (("1", "yes"), ("0", "no"))
    return [(choice, words.plain(choice).lower()) for choice in one.get("choices", ())]


# -- the answer ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    title: str
    before: str
    after: str
    difference: str
    kind: str
    trials: str


@dataclass(frozen=True, slots=True)
class Refusal:
    title: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Asked:
    """`asked` is the question in words, `after` what the second number stands under."""

    grade: str
    asked: str
    after: str
    says: str
    results: Sequence[Result]
    refusals: Sequence[Refusal]
    harms: Sequence[str]
    limits: Sequence[str]


def asked(found: Json, card: Json) -> Asked:
    treated = "treatment" in found
    return Asked(
        grade=GRADES[found["grade"]],
        asked=found["label"] if treated else words.capital("; ".join(_changes(found))),
        after="with it, as in trials" if treated else "with these values",
        says=found["says"],
        results=[_result(one, card) for one in found["results"]],
        refusals=[_refusal(one, card) for one in found["refusals"]],
        harms=found.get("harms", ()),
        limits=found.get("limits", ()),
    )


def _changes(found: Json) -> Iterator[str]:
    for one in found["changes"]:
        name = words.model_input(one["input"])
        new = _recorded({**one, "value": one["to"]})
        old = _recorded({**one, "value": one["from"]})
        yield f"{name} {new} instead of {old}"


def _result(one: Json, card: Json) -> Result:
    unit = next(o["unit"] for o in card["outcomes"] if o["outcome"] == one["outcome"])
    shown = {**one, "unit": unit}
    probability = assessed.is_share(shown)
    kind = one["interval"]["kind"] if "interval" in one else ""
    return Result(
        title=_title(one, card),
        before=assessed.figure(one["before"], shown),
        after=assessed.figure(one["after"], shown),
        difference=words.capital(whatif.difference(dict(one), probability)),
        kind=KINDS.get(kind, words.plain(kind).lower()),
        trials=words.capital(whatif.trials(one["effect"])) if "effect" in one else "",
    )


def _title(one: Json, card: Json) -> str:
    years = f" within {one['horizonYears']:g} years" if "horizonYears" in one else ""
    return f"{words.outcome(one['outcome'], card)}{years}"


def _refusal(one: Json, card: Json) -> Refusal:
    about = f" {words.model_input(one['input'])}." if "input" in one else ""
    return Refusal(_title(one, card), f"{words.refusal(one['reason'])}{about}")
