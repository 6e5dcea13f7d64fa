"""What is said of a twin: one card per model that has an answer, and none where there is nothing.

A number never stands without its horizon, its date and how fresh it is. A card's validity is not
invented: it ends with the shelf life its model declares, or when an input is older than it allows.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from mappings.to_fhir.card import PROBABILITY, RECOMMENDATION, CardView
from mappings.to_fhir.wording import (
    horizon_words,
    input_phrase,
    interval_sentence,
    label,
    measured,
    plain,
    spelled,
    unseen,
)
from twin_engine.models.contract import Model
from twin_engine.models.shelf import Expiry, expiry

Json = dict[str, Any]

LONGEST_SUMMARY = 139
_PER_DAY = {"d": 1, "min": 1440}
REASONS = {
    "already-considered": "Already considered",
    "not-applicable": "Does not apply to this patient",
    "data-wrong": "The data it rests on are wrong or out of date",
    "disagree": "I come to another estimate",
}


@dataclass(frozen=True)
class Setting:
    """What a card needs besides the assessment."""

    base: str
    code_base: str
    twin: str
    today: date
    now: int
    time_unit: str
    selected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By model: what of the orders just picked it is about; empty where a chart was opened."""

    def day(self, offset: int) -> date:
        return self.today + timedelta(days=(offset - self.now) // _PER_DAY[self.time_unit])


@dataclass(frozen=True)
class Card:
    model: str
    body: Json


def cards(
    assessments: Iterable[Json], models: Mapping[str, Model], contents: Mapping[str, Json],
    setting: Setting,
) -> list[Card]:  # fmt: skip
    found = []
    for assessment in assessments:
        name = assessment["model"]["id"]
        if assessment["results"]:
            body = _card(assessment, models[name], contents[name], setting)
            found.append(Card(name, body))
    return found


def _card(assessment: Json, model: Model, content: Json, setting: Setting) -> Json:
    view = CardView(content, assessment)
    used = _days(assessment, setting)
    end = expiry(assessment, model, _PER_DAY[setting.time_unit], 0)
    return {
        "uuid": str(uuid.uuid4()),
        "summary": summary(assessment["results"][0], view, max(used, default=None)),
        "detail": _detail(assessment, view, used, _until(end, setting), setting),
        "indicator": "info",
        "source": {
            "label": f"Twinport: {view.title}",
            "url": f"{setting.base}/docs",
            "topic": {
                "system": _system(setting.code_base, "model"),
                "code": view.id,
                "display": view.title,
            },
        },
        "overrideReasons": [
            {"system": reason_system(setting.code_base), "code": code, "display": display}
            for code, display in REASONS.items()
        ],
        "links": [
            {
                "label": "How this was computed",
                "url": f"{setting.base}/clinic/twins/{setting.twin}",
                "type": "absolute",
            }
        ],
    }


def summary(result: Json, view: CardView, newest: date | None) -> str:
    """One sentence, cut at a word where a model's label is long."""
    band = f" ({plain(result['category']['code'])})" if "category" in result else ""
    upto = f"; data up to {newest.isoformat()}" if newest else ""
    tail = f"{horizon_words(result)}: {_figure(result, view)}{band}{upto}"
    head = view.outcome(result).label
    return f"{_cut(head, LONGEST_SUMMARY - len(tail))}{tail}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1].rstrip()}…"


def _figure(result: Json, view: CardView) -> str:
    if view.outcome(result).kind == PROBABILITY:
        return spelled(result["value"])
    if view.outcome(result).kind == RECOMMENDATION:
        return view.said(result["category"]).rstrip(".")
    return measured(float(f"{result['value']:.3g}"), result["unit"])


def _detail(
    assessment: Json, view: CardView, used: Sequence[date], until: str, setting: Setting
) -> str:
    chosen = setting.selected.get(view.id, ())
    parts = [_selected(chosen)] if chosen else []
    parts += [_line(result, view) for result in assessment["results"]]
    inputs = [input_phrase(entry) for entry in assessment["inputs"]]
    parts += [f"**Inputs**: {'; '.join(inputs)}."] if inputs else []
    missing = [label(name) for name in assessment.get("missing", ())]
    parts += [f"**Not known**: {', '.join(missing)}."] if missing else []
    if missed := unseen(assessment):
        parts.append(f"**May have been missed**, as not everything was answered: {missed}.")
    parts.append(_freshness(used))
    parts += [until] if until else []
    parts.append(f"{view.text}. Preliminary; not reviewed by a clinician; nothing was written.")
    return "\n\n".join(parts)


def _selected(chosen: Sequence[str]) -> str:
    return f"**Selected**: {', '.join(chosen)}. The answer is that before it is taken."


def _until(end: Expiry | None, setting: Setting) -> str:
    if end is None:
        return ""
    day = setting.today + timedelta(days=end.days_left)
    why = "an input is too old" if end.cause == "input-too-old" else "its shelf life ends"
    return f"**Valid until** {day.isoformat()}: then {why}."


def _line(result: Json, view: CardView) -> str:
    name = f"**{view.outcome(result).label}**{horizon_words(result)}"
    interval = interval_sentence(result, spelled) if _is_share(result, view) else ""
    return f"{name}: {_figure(result, view)}. {interval}".strip()


def _is_share(result: Json, view: CardView) -> bool:
    return view.outcome(result).kind == PROBABILITY


def _freshness(used: Sequence[date]) -> str:
    if not used:
        return "**Data**: none with a date."
    return f"**Data** from {min(used).isoformat()} to {max(used).isoformat()}."


def _days(assessment: Json, setting: Setting) -> list[date]:
    return [setting.day(entry["t"]) for entry in assessment["inputs"] if "t" in entry]


def reason_system(code_base: str) -> str:
    return _system(code_base, "override-reason")


def _system(code_base: str, name: str) -> str:
    joint = ":" if code_base.startswith("urn:") else "/"
    return joint.join((code_base, "CodeSystem", name))
