"""The parts that RiskAssessment and Observation share: ids, inputs, notes, dates."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from mappings.to_fhir.card import CardView
from mappings.to_fhir.codings import own
from mappings.to_fhir.links import Links
from mappings.to_fhir.wording import horizon_words, label, paragraph, plain, unseen

Json = dict[str, Any]

_NAMESPACE = uuid.UUID("3f0c2a52-5a0e-5f0b-8f53-0c4b7a0d9e61")


def resource_id(*parts: str) -> str:
    """The id of a resource before a server gives it one: the same parts, the same id."""
    return str(uuid.uuid5(_NAMESPACE, "|".join(parts)))


def references(assessment: Mapping[str, Any], links: Links) -> list[str]:
    """References of the inputs that were used, each once, in the order of use."""
    used = (src for entry in assessment["inputs"] for src in entry.get("src", ()))
    return list(dict.fromkeys(links.sources[src] for src in used if src in links.sources))


def _unlinked(assessment: Mapping[str, Any], links: Links) -> int:
    used = {src for entry in assessment["inputs"] for src in entry.get("src", ())}
    return len(used - links.sources.keys())


def as_references(found: Iterable[str]) -> list[Json]:
    return [{"reference": reference} for reference in found]


def timestamp(moment: datetime) -> str:
    """A FHIR dateTime or instant to the second, with its zone."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def years_later(start: date, years: int) -> date:
    """The same day after so many years; 29 February becomes 28 where there is none."""
    try:
        return start.replace(year=start.year + years)
    except ValueError:
        return start.replace(year=start.year + years, day=28)


def until_sentence(links: Links) -> str:
    """For whoever reads it later, where nobody can say it of the copy they see."""
    return f"Holds until {links.until.isoformat()}." if links.until else ""


def encounter(links: Links) -> Json:
    return {"encounter": {"reference": links.encounter}} if links.encounter else {}


def method(view: CardView, links: Links) -> Json:
    coding = own(links, "model", view.code, view.title, view.version)
    return {"coding": [coding], "text": view.text}


def identifier(links: Links, suffix: str = "") -> list[Json]:
    system, value = links.identifier
    return [{"system": system, "value": f"{value}.{suffix}" if suffix else value}]


def notes(
    assessment: Mapping[str, Any], view: CardView, links: Links, *sentences: str
) -> list[Json]:
    """What a reader must know besides the number, one note for each matter."""
    texts = [
        f"Computed by {view.text}, and not reviewed by a clinician.",
        *sentences,
        until_sentence(links),
        *gaps(assessment, links, _assumed(assessment)),
        *(_refusal(refusal, view, links) for refusal in assessment.get("refusals", ())),
    ]
    time = timestamp(links.occurrence)
    return [{"time": time, "text": text} for text in texts if text]


def gaps(assessment: Mapping[str, Any], links: Links, assumed: str = "") -> list[str]:
    """What was not known, not seen or not linked."""
    found = [
        _missing(assessment),
        assumed,
        _unseen(assessment),
        _incomplete(links),
        _unlinked_sentence(_unlinked(assessment, links)),
    ]
    return [sentence for sentence in found if sentence]


def _missing(assessment: Mapping[str, Any]) -> str:
    missing = [label(name) for name in assessment.get("missing", ())]
    return f"Not known: {', '.join(missing)}." if missing else ""


def _assumed(assessment: Mapping[str, Any]) -> str:
    """Inputs nobody measured: imputed, or read as absent from a complete record."""

    def named(how: str) -> list[str]:
        return [label(entry["input"]) for entry in assessment["inputs"] if entry["how"] == how]

    open_ = {label(row["input"]) for row in assessment.get("unseen", ())}
    imputed, absent = named("imputed"), named("declared-absent")
    sure = [name for name in absent if name not in open_]
    doubtful = [name for name in absent if name in open_]
    return paragraph(
        f"Imputed, not measured: {', '.join(imputed)}." if imputed else "",
        f"Taken as absent, as the record was complete and holds none: {', '.join(sure)}."
        if sure
        else "",
        f"Taken as absent, though not everything was answered: {', '.join(doubtful)}."
        if doubtful
        else "",
    )


def _unseen(assessment: Mapping[str, Any]) -> str:
    """What was not brought may stand in what was refused; it is not to be read as a no."""
    missed = unseen(assessment)
    return f"May have been missed, as not everything was answered: {missed}." if missed else ""


def _incomplete(links: Links) -> str:
    types = ", ".join(links.partial)
    return f"Not everything could be read from the server: {types}." if types else ""


def _unlinked_sentence(count: int) -> str:
    return f"{count} of the inputs could not be linked to a record of this server." if count else ""


def _refusal(refusal: Mapping[str, Any], view: CardView, links: Links) -> str:
    outcome = view.outcome(refusal).label
    return f"No answer for {outcome}{horizon_words(refusal)}: {reason_sentence(refusal, links)}"


def reason_sentence(refusal: Mapping[str, Any], links: Links) -> str:
    """Why there is no answer, and about which input."""
    reason = links.reasons.get(refusal["reason"]) or f"{plain(refusal['reason']).capitalize()}."
    about = f" ({label(refusal['input'])})" if refusal.get("input") else ""
    return f"{reason.rstrip('.')}{about}."
