"""A model's card: what it is for, what it was built on, how well it is known to work, its limits.

The words of a card are data (`card.yaml`, closed list of fields in `card_fields.csv`, numbered as
the source attributes that US certification asks of predictive decision support, 45 CFR
170.315(b)(11)). What the code knows for certain (inputs, ranges, windows, outcomes, digests) comes
from the model's declarations, so that a card cannot disagree with its model.
"""

import csv
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from twin_engine.models.canonical import digest
from twin_engine.models.contract import Input, Model

NOT_PUBLISHED = "Not published."
TRIED = "With everything else unchanged; tried by `twinport models check`."
NEVER = {"rising": "lowers", "falling": "raises"}


class CardError(ValueError):
    """A card lacks a field, or has one that is not on the list."""


@dataclass(frozen=True)
class CardField:
    key: str
    section: str
    label: str
    attribute: str  # number of the source attribute, "" for a field of our own


@cache
def card_fields() -> tuple[CardField, ...]:
    text = files("twin_engine.models").joinpath("card_fields.csv").read_text(encoding="utf-8")
    return tuple(CardField(**row) for row in csv.DictReader(text.splitlines()))


def check_card(model: Model) -> None:
    """Every field filled, none unknown. "Not published." is an answer, an empty field is not."""
    expected = {field.key for field in card_fields()}
    lacking = sorted(key for key in expected if not model.card.get(key))
    unknown = sorted(model.card.keys() - expected)
    if lacking or unknown:
        raise CardError(f"card of {model.id}: fill {lacking}; remove {unknown}")


def card(model: Model) -> dict[str, Any]:
    """The whole card as plain data: words and declarations."""
    check_card(model)
    return {
        "id": model.id,
        "version": model.version,
        "title": model.title,
        "kind": model.kind,
        "content": dict(model.content),
        "codings": [dict(one) for one in model.codings],
        "ai_kinds": list(model.ai_kinds),
        "fields": {field.key: model.card[field.key] for field in card_fields()},
        "inputs": [_input(declared) for declared in model.inputs.values()],
        "variants": {name: list(own) for name, own in model.variants.items()},
        "outcomes": [
            {
                "outcome": one.id,
                "label": one.label,
                "unit": one.unit,
                "horizons": list(one.horizons),
                "codes": dict(one.codes),
                **({"about": dict(one.about)} if one.about else {}),
            }
            for one in model.outcomes.values()
        ],
        "exclusions": [
            {"reason": rule["reason"]}
            | {name: list(rule[name]) for name in ("condition", "procedure") if name in rule}
            for rule in model.exclusions
        ],
        "inclusions": [{"condition": list(rule["condition"])} for rule in model.inclusions],
        "rows_only": model.rows_only,
        "shelf_life_days": model.shelf_life_days,
        "stake": model.stake,
        "settings": {name: list(words) for name, words in model.settings.items()},
        **({"bands": _plain(model.bands)} if model.bands else {}),
    }


def _plain(node: Any) -> Any:
    """Mappings of any kind as dictionaries."""
    return {k: _plain(v) for k, v in node.items()} if isinstance(node, Mapping) else node


@cache
def card_digest(model: Model) -> str:
    """What an assessment names, so that its reader can tell which card it was made under."""
    return digest(card(model))


def _input(declared: Input) -> dict[str, Any]:
    return {
        "input": declared.id,
        "column": declared.column,
        "unit": declared.unit,
        "choices": list(declared.choices),
        "flag": declared.flag,
        "from": [dict(source) for source in declared.sources],
        "use": "part" if declared.part else "optional" if declared.optional else "required",
        "range": list(declared.bounds) if declared.bounds else None,
        "range_at": {str(years): list(pair) for years, pair in declared.bounds_at.items()},
        "window_days": declared.window_days,
        "reference": declared.reference,
    }


# -- rendering ---------------------------------------------------------------------------------


def html_card(model: Model) -> dict[str, Any]:
    """The card with every text escaped: safe to place in a page as it is."""
    escaped = _escaped(card(model))
    escaped["digest"] = card_digest(model)
    escaped["movements"] = _escaped(movements(model))
    escaped["sections"] = [
        {
            "title": html.escape(section),
            "fields": [
                {
                    "label": html.escape(field.label),
                    "attribute": field.attribute,
                    "text": escaped["fields"][field.key],
                }
                for field in fields
            ],
        }
        for section, fields in sections()
    ]
    return dict(escaped)


def sections() -> Iterator[tuple[str, list[CardField]]]:
    for section, fields in groupby(card_fields(), key=lambda field: field.section):
        yield section, list(fields)


def _escaped(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {html.escape(str(key)): _escaped(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_escaped(value) for value in content]
    return html.escape(content) if isinstance(content, str) else content


def markdown(model: Model) -> str:
    """The page `docs/models/<id>.md`."""
    whole = card(model)
    lines = [f"# {model.title}", "", _heading(model), ""]
    for section, fields in sections():
        lines += [f"## {section}", ""]
        for field in fields:
            lines += _field(field, _text(whole, field.key))
    lines += ["## Inputs", "", *_input_table(whole["inputs"]), ""]
    lines += ["## Outcomes", "", *_outcome_table(whole["outcomes"], whole["variants"]), ""]
    lines += ["## How it moves", "", *([TRIED, ""] if model.monotone else [])]
    lines += [*(f"- {one}" for one in movements(model)), ""]
    if "bands" in whole:
        lines += ["## What each code says", "", *_band_table(whole["bands"]), ""]
    lines += ["## Digests", "", f"- card: `{card_digest(model)}`"]
    lines += [f"- {name}: `{value}`" for name, value in whole["content"].items()]
    return "\n".join(lines) + "\n"


def movements(model: Model) -> list[str]:
    """How outcomes move with one input, or why none can be said to: a sentence each.

    Beside the card's data and not in it: what assessments name is the digest of that.
    """
    found = [_movement(model.inputs[rule["input"]], rule) for rule in model.monotone]
    return found or [f"No outcome only rises or only falls. {_flat(model.not_monotone)}".rstrip()]


def _movement(declared: Input, rule: Mapping[str, Any]) -> str:
    risen = f"Yes to {declared.id}" if declared.flag else f"Higher {declared.id}"
    unit = "" if declared.unit == "1" else f" {declared.unit}"
    limits = {"from": "from", "to": "up to"}
    ends = [f"{said} {rule[end]:g}{unit}" for end, said in limits.items() if end in rule]
    parts = [" ".join(ends), _joined(rule.get("horizons", ()), "years")]
    parts.append("variant " * ("variants" in rule) + _joined(rule.get("variants", ())))
    where = "; ".join(part for part in parts if part)
    effect = f"{NEVER[rule['direction']]} {_joined(rule['outcomes'])}"
    return f"{risen} never {effect}{f' ({where})' if where else ''}."


def _joined(names: Sequence[Any], unit: str = "") -> str:
    return f"{', '.join(map(str, names))} {unit}".strip() if names else ""


def _band_table(bands: Mapping[str, Any]) -> list[str]:
    head = ["| scheme | code | sentence | strength |", "|---|---|---|---|"]
    return head + [
        f"| {scheme} | `{code}` | {said['text']} | {said.get('strength', '')} |"
        for scheme, codes in bands.items()
        for code, said in codes.items()
    ]


def _heading(model: Model) -> str:
    return (
        f"`{model.id}` version {model.version}. Generated from the model's own declarations and "
        "card; numbers in brackets are the source attributes of 45 CFR 170.315(b)(11)."
    )


def _text(whole: Mapping[str, Any], key: str) -> Any:
    """A field, led by the declaration that it gives the reason for."""
    text, days = whole["fields"][key], whole["shelf_life_days"]
    leads = {
        "shelf_life": "for ever" if days is None else f"{days} day{'' if days == 1 else 's'}",
        "stake": f"{whole['stake']} stake",
    }
    return f"{leads[key]}. {text}" if key in leads else text


def _field(field: CardField, text: Any) -> list[str]:
    number = f" [{field.attribute}]" if field.attribute else ""
    if isinstance(text, list):
        return [f"**{field.label}**{number}", "", *(f"- {_flat(one)}" for one in text), ""]
    return [f"**{field.label}**{number}: {_flat(text)}", ""]


def _flat(text: Any) -> str:
    return " ".join(str(text).split())


def _input_table(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    head = [
        "| input | column | unit | use | published range | no older than |",
        "|---|---|---|---|---|---|",
    ]
    return head + [
        f"| {one['input']} | `{one['column']}` | {_unit(one)} | {one['use']} | {_range(one)} "
        f"| {_window(one)} |"
        for one in inputs
    ]


def _unit(one: Mapping[str, Any]) -> str:
    if one["choices"]:
        return " / ".join(one["choices"])
    return "0 / 1" if one["flag"] else f"`{one['unit']}`"


def _range(one: Mapping[str, Any]) -> str:
    if one["range_at"]:
        return "; ".join(
            f"{_pair(pair)} ({years} years)" for years, pair in one["range_at"].items()
        )
    return _pair(one["range"]) if one["range"] else ""


def _pair(pair: Sequence[float]) -> str:
    low, high = pair
    below = high != float(f"{high:.9g}")  # an upper limit that is itself outside
    return f"{low:g} to {'below ' if below else ''}{high:.9g}"


def _window(one: Mapping[str, Any]) -> str:
    return f"{one['window_days']} days" if one["window_days"] else ""


def _outcome_table(
    outcomes: Sequence[Mapping[str, Any]], variants: Mapping[str, Sequence[str]]
) -> list[str]:
    head = ["| outcome | what | unit | horizons in years | variants |", "|---|---|---|---|---|"]
    names = ", ".join(variants)
    return head + [
        f"| {one['outcome']} | {one['label']} | `{one['unit']}` "
        f"| {', '.join(map(str, one['horizons']))} | {names} |"
        for one in outcomes
    ]
