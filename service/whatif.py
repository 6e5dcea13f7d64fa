"""A what-if question as the command line, the API and the clinician's page ask it.

One question in, one plain answer out; whatever is wrong with the question is a `WhatIfError` whose
message says how it can be asked. Nothing is stored, and nothing here is worded as advice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mappings.vocabulary.units import unit_label
from twin_engine.models.assess import Request, request
from twin_engine.models.contract import REASONS, Model
from twin_engine.models.effects import treatments
from twin_engine.models.registry import get
from twin_engine.models.whatif import WhatIfError, exchangeable, treat, what_if
from twin_engine.state import State

__all__ = ["Question", "WhatIfError", "answer", "lines", "offer"]

Json = dict[str, Any]
PUBLISHED: Mapping[str, Model] = {}

OF_TRIALS = "in trials, of 100 people like those studied with this predicted risk"
OF_VALUES = "of 100 people with these values"


@dataclass(frozen=True)
class Question:
    """Other inputs (as cells of a table, in the units of the card) or one treatment; never both."""

    model: str  # ID or ID:VARIANT
    changes: Mapping[str, str] = field(default_factory=dict)
    treatment: str = ""


def answer(
    document: Mapping[str, Any],
    question: Question,
    settings: Mapping[str, str],
    versions: Mapping[str, Model] = PUBLISHED,
) -> Json:
    """What the model says otherwise, or what trials measured; graded, with the range of the
    difference. `settings` are what the installation has stated for its models, `versions` those
    that run here in place of the published ones, by model."""
    asked = _asked(question.model, settings, versions)
    _must_be_one(question, asked)
    state = State(document)
    if question.treatment:
        return treat(state, asked, question.treatment)
    return what_if(state, asked, question.changes)


def offer(
    document: Mapping[str, Any],
    model: str,
    settings: Mapping[str, str],
    versions: Mapping[str, Model] = PUBLISHED,
) -> Json:
    """What may be asked of one model about this twin: the inputs with the values in use, and the
    treatments trials of which meet its outcomes. For a form; asks nothing."""
    asked = _asked(model, settings, versions)
    found, variant = exchangeable(State(document), asked)
    return {
        "model": {"id": asked.model.id, "version": asked.model.version, "variant": variant},
        "title": asked.model.title,
        "inputs": found,
        "treatments": [
            {"treatment": name, "label": label}
            for name, label in treatments(asked.model.id).items()
        ],
    }


def _asked(name: str, settings: Mapping[str, str], versions: Mapping[str, Model]) -> Request:
    try:
        found = request(name)
        model = versions.get(found.model.id, found.model)
        return found._replace(model=model, settings=settings)
    except LookupError as error:
        raise WhatIfError(str(error.args[0])) from None


def _must_be_one(question: Question, asked: Request) -> None:
    """Either other inputs or a treatment."""
    if bool(question.changes) == bool(question.treatment):
        offered = ", ".join(treatments(asked.model.id)) or "none for this model"
        raise WhatIfError(
            f"ask either for other inputs (INPUT=VALUE) or for one treatment ({offered})"
        )


# -- words -------------------------------------------------------------------------------------


def lines(found: Json) -> list[str]:
    """The answer for people: the grade beside every number, harms beside every benefit."""
    model = get(found["model"]["id"])
    told = [f"{model.title}, {found['model']['variant']} [{found['grade']}]", found["says"], ""]
    if "label" in found:
        told += [f"{found['label']}:"]
    else:
        told += [f"  {change(one)}" for one in found["changes"]]
    for one in found["results"]:
        told += _result(one, found)
    told += [
        f"  {_named(one)}: no number. {REASONS[one['reason']].sentence}"
        for one in found["refusals"]
    ]
    told += [f"  {text}" for text in (*found.get("limits", ()), *found.get("harms", ()))]
    return told


def change(one: Json) -> str:
    """`systolic-bp: 148 -> 120 mmHg`."""
    unit = unit_label(one["unit"]) if "unit" in one else ""
    return f"{one['input']}: {_word(one['from'])} -> {_word(one['to'])} {unit}".rstrip()


def _word(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _result(one: Json, found: Json) -> Iterator[str]:
    model = get(found["model"]["id"])
    shown = _percent if model.kind == "probability" else _plain
    years = f", {one['horizonYears']} years" if "horizonYears" in one else ""
    before, after = shown(one["before"]), shown(one["after"])
    label = model.outcomes[one["outcome"]].label
    yield f"  {label}{years} [{found['grade']}]: {before} -> {after}"
    yield f"    {difference(one, model.kind == 'probability')}"
    if "effect" in one:
        yield f"    {trials(one['effect'])}"


def difference(one: Json, probability: bool) -> str:
    """The difference of one result with its range, and whose it is."""
    if "interval" not in one:
        return "no range of the difference: no citable variation of an input"
    whose = "difference"
    if probability:
        whose = OF_TRIALS if "effect" in one else OF_VALUES
    return f"{whose}: {_amount(one, probability)}"


def _amount(one: Json, probability: bool) -> str:
    """In events of a hundred people; a range that holds nought is no clear difference."""
    interval = one["interval"]
    if interval["low"] <= 0 <= interval["high"]:
        return "no clear difference (its range holds zero)"
    if not probability:
        return f"{one['difference']:+.4g} ({interval['low']:+.4g} to {interval['high']:+.4g})"
    per = [round(100 * abs(interval[end]), 1) for end in ("low", "high")]
    fewer = "fewer" if one["difference"] < 0 else "more"
    middle = round(100 * abs(one["difference"]), 1)
    return f"{middle} {fewer} ({min(per)} to {max(per)})"


def trials(effect: Json) -> str:
    """What was measured, on whom, how well, and where it stands."""
    return (
        f"{effect['measure']} {effect['estimate']:g} ({effect['low']:g} to {effect['high']:g}) for "
        f"{effect['outcome']}, {effect['population']}; evidence {effect['evidence']}, "
        f"outcome {effect['match']}. {effect['source']}"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _plain(value: float) -> str:
    return f"{value:.4g}"


def _named(one: Json) -> str:
    years = f", {one['horizonYears']} years" if "horizonYears" in one else ""
    return f"{one['outcome']}{years}"
