"""Turning codes, units and offsets into words for people. The only place that does.

What is ours to name stands in `words.csv` (`label` for professionals, `plain` for everybody);
clinical names come from the vocabulary.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from mappings import vocabulary
from mappings.vocabulary.units import unit_label
from service.pages import speech
from twin_engine.models.contract import REASONS

DAYS = {"d": 1.0, "min": 1 / 1440}
_YEAR, _MONTH = 365.25, 30.44
_REMARK = re.compile(r"(, diagnosis| \(.*\)| for CHA2DS2-VASc.*)$")
Card = Mapping[str, Any]  # a model's card; empty where the model does not run here any more

ROLES = {
    "ehr": "Clinician",
    "patient": "Patient",
    "privacy-officer": "Privacy officer",
    "admin": "Administrator",
    "recipient": "Holder of a health link",
}

HOW = {
    "measured": "measured",
    "derived": "computed from other values",
    "reported": "reported",
    "coded": "recorded",
    "declared-absent": "not recorded; the record was complete",
    "subject": "from the person's own data",
    "imputed": "filled in",
}

VERDICTS = {"complete": "complete", "partial": "partly answered", "unknown": "not answered"}


class Word(NamedTuple):
    """A name for professionals, and one for everybody."""

    label: str
    plain: str


def _read_words() -> dict[tuple[str, str], Word]:
    text = files(__package__).joinpath("words.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), strict=True)
    return {(row["kind"], row["id"]): Word(row["label"], row["plain"]) for row in rows}


WORDS: Mapping[tuple[str, str], Word] = _read_words()
_CONCEPTS = {concept.id: concept for concept in vocabulary.concepts()}


def word(kind: str, code: str) -> str:
    """The professional's name of one of our codes."""
    if (told := speech.named(kind, code)) is not None:
        return told
    found = WORDS.get((kind, code))
    return found.label if found and found.label else plain(code)


def everyday(kind: str, code: str) -> str:
    """The same in everyday words, and in the reader's language."""
    if (told := speech.named(kind, code)) is not None:
        return told
    found = WORDS.get((kind, code))
    return found.plain if found and found.plain else plain(code).lower()


def explained(kind: str, code: str) -> str:
    """Sentences in everyday words; empty where nobody has written them."""
    if (told := speech.named(kind, code)) is not None:
        return told
    found = WORDS.get((kind, code))
    return found.plain if found else ""


def everyday_role(role: str, other: str) -> str:
    return speech.named("role", role) or ROLES.get(role, other)


def plain(code: str) -> str:
    """A code of ours, readable: `bp-treatment` becomes `Bp treatment`."""
    return code.replace("-", " ").replace("_", " ").capitalize()


# -- numbers ---------------------------------------------------------------------------------------


def unit(code: str) -> str:
    """UCUM is for machines: `mm[Hg]` becomes `mmHg`."""
    return "years" if code == "a" else unit_label(code)


def number(value: float) -> str:
    """No more digits than were kept, and never an exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def measured(value: float, code: str, decimals: int | None = None) -> str:
    """A number with its unit."""
    shown = number(value) if decimals is None else f"{value:.{decimals}f}"
    return f"{shown} {unit(code)}".rstrip()


def percent(probability: float) -> str:
    """Whole percent from one upwards, one decimal below: no more than the interval allows."""
    share = probability * 100
    return f"{share:.0f} %" if share >= 1 else f"{share:.1f} %"


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = list(items)
    if len(words) < 2:
        return "".join(words)
    return speech.text("small.and", before=", ".join(words[:-1]), last=words[-1])


def counted(count: int, one: str, many: str = "") -> str:
    """`1 reading`, `2 readings`, `2,345 readings`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


# -- time and age ----------------------------------------------------------------------------------


def days_before(offset: int, now: int, time_unit: str) -> float:
    return (now - offset) * DAYS[time_unit]


def ago(offset: int, now: int, time_unit: str, precision: str = "day") -> str:
    """How long before now, as roughly as it was recorded."""
    days = days_before(offset, now, time_unit)
    if days < 0:
        return speech.text("small.after")
    if days < 1:
        return speech.text("small.same_day")
    key = "small.before" if precision in {"day", "minute"} else "small.about_before"
    return speech.text(key, span=span(days))


def span(days: float) -> str:
    """A length of time in one unit, the largest that still tells something."""
    if days < 60:
        return speech.counted("small.days", round(days))
    if days < 730:
        return speech.counted("small.months", round(days / _MONTH))
    return speech.text("small.years", n=f"{days / _YEAR:.1f}")


def brief(days: float) -> str:
    """A length of time for a narrow column: `18 d`, `7 mo`, `3.0 y`."""
    if days < 60:
        return f"{max(round(days), 0)} d"
    return f"{round(days / _MONTH)} mo" if days < 730 else f"{days / _YEAR:.1f} y"


def age(subject: Mapping[str, Any]) -> str:
    years = subject.get("age")
    if years is None:
        return "age unknown"
    if subject.get("ageTopCoded"):
        return f"{years} years or older"
    return "under 1 year" if years == 0 else counted(int(years), "year")


# -- clinical names --------------------------------------------------------------------------------


def concept(concept_id: str) -> str:
    if (told := speech.named("concept", concept_id)) is not None:
        return told
    found = _CONCEPTS.get(concept_id)
    return found.label if found else plain(concept_id)


def category(concept_id: str) -> str:
    found = _CONCEPTS.get(concept_id)
    return found.category if found else "lab"


def decimals(concept_id: str) -> int | None:
    found = _CONCEPTS.get(concept_id)
    return found.decimals if found else None


def model_input(name: str) -> str:
    """An input of a model: our name for it, else the concept's."""
    return word("input", name) if ("input", name) in WORDS else concept(name)


def everyday_input(name: str) -> str:
    known = ("input", name) in WORDS or speech.named("input", name) is not None
    return everyday("input", name) if known else concept(name)


def condition(group: str) -> str:
    """The group's label without the remark on what it is for."""
    if (told := speech.named("condition", group)) is not None:
        return told
    label = vocabulary.condition_labels().get(group, plain(group))
    return _REMARK.sub("", label)


def medication(class_id: str) -> str:
    return speech.named("medication", class_id) or vocabulary.medication_labels().get(
        class_id, plain(class_id)
    )


def taken(entry: Mapping[str, Any]) -> str:
    """`20 mg, 2 times a day`: as much of it as a twin's medicine says."""
    return ", ".join(filter(None, [_dose(entry), _times(entry.get("timesPerDay", 0))]))


def _dose(entry: Mapping[str, Any]) -> str:
    if "dose" not in entry:
        return ""
    value, name = entry["dose"], entry["doseUnit"]
    pieces = vocabulary.dose_code(name)[0] != "ucum"  # tablets, not milligrams
    return f"{number(value)} {name}s" if pieces and value > 1 else measured(value, name)


def _times(a_day: float) -> str:
    if a_day >= 1 and a_day % 1 == 0:
        return "once a day" if a_day == 1 else f"{number(a_day)} times a day"
    days = round(1 / a_day, 1) if a_day else 0.5
    return f"every {number(days)} days" if days % 1 == 0 else ""


def procedure(group: str) -> str:
    return speech.named("procedure", group) or vocabulary.procedure_labels().get(
        group, plain(group)
    )


def vaccine(target: str) -> str:
    return vocabulary.vaccine_labels().get(target, plain(target))


def dose_of(entry: Mapping[str, Any]) -> str:
    """Which dose of its series, where the record says so."""
    if "dose" not in entry:
        return ""
    return f", dose {entry['dose']}" + (f" of {entry['doses']}" if "doses" in entry else "")


def modality(code: str) -> str:
    return vocabulary.modality_labels().get(code, code)


def body_site(code: str) -> str:
    return vocabulary.body_site_labels().get(code, code)


# The few of many parameters that tell a reader what kind of picture it was.
TELLING = ("contrast", "slice-thickness", "field-strength", "tube-voltage", "injected-activity")


def acquired(parameters: Mapping[str, Mapping[str, Any]]) -> str:
    """How a series was acquired, in a few words."""
    known = vocabulary.acquisition_parameters()
    return ", ".join(
        _acquired(known[name].label.lower(), parameters[name])
        for name in TELLING
        if name in parameters
    )


def _acquired(label: str, told: Mapping[str, Any]) -> str:
    if "given" in told:
        return label if told["given"] else f"no {label}"
    return f"{label} {' to '.join(f'{value:g}' for value in told['v'])} {told['unit']}"


def rule(rule_id: str) -> str:
    found = vocabulary.rules().get(rule_id)
    return found.sentence if found else plain(rule_id)


def refusal(reason: str) -> str:
    found = REASONS.get(reason)
    return found.sentence if found else plain(reason)


# -- models ----------------------------------------------------------------------------------------


def outcome(code: str, card: Card) -> str:
    """What is predicted: our word, else what the model's card calls it."""
    known = _outcome_word(code, card)
    return known.label if known and known.label else _on_card(code, card) or plain(code)


def everyday_outcome(code: str, card: Card) -> str:
    own = speech.named("outcome", f"{card.get('id', '')}/{code}")
    if (told := own or speech.named("outcome", code)) is not None:
        return told
    known = _outcome_word(code, card)
    return known.plain if known and known.plain else _on_card(code, card) or plain(code).lower()


def _outcome_word(code: str, card: Card) -> Word | None:
    """`score` means something else in every model that has one."""
    own = WORDS.get(("outcome", f"{card.get('id', '')}/{code}"))
    return own or WORDS.get(("outcome", code))


def _on_card(code: str, card: Card) -> str:
    return next((o["label"] for o in card.get("outcomes", ()) if o["outcome"] == code), "")


def model_title(model_id: str, card: Card) -> str:
    return speech.named("title", model_id) or card.get("title") or word("model", model_id)


def band(category: Mapping[str, str], card: Card) -> str:
    """A named band with its limits, and who defined it; a word is never shown without."""
    scheme, code = category["scheme"], category["code"]
    known = WORDS.get(("band", f"{scheme}/{code}"))
    if known:
        return f"{known.label} · {word('scheme', scheme)}"
    said = card.get("bands", {}).get(scheme, {}).get(code)
    if said:
        return f"{said['text']} · {said['strength']} recommendation · {said['source']}"
    defined = card.get("fields", {}).get("categories", [plain(scheme)])
    return f"{plain(code)} · {' '.join(defined)}"


def shown(document: Mapping[str, Any]) -> list[Any]:
    """The assessments a page may show: without those made in silence."""
    return [item for item in document["assessments"] if not item.get("silent")]


def is_guidance(card: Card) -> bool:
    """Whether a model says what a guideline says, and no number."""
    return card.get("kind") == "recommendation"


def capital(text: str) -> str:
    """A first capital letter, everything else as it is."""
    return text[:1].upper() + text[1:]


def everyday_condition(group: str) -> str:
    """An illness as people call it."""
    known = speech.named("condition", group) or WORDS.get(("condition", group), Word("", "")).plain
    return capital(known) if known else condition(group)
