"""One fact of a twin in words: what, how much, when before the twin's now."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mappings import vocabulary
from service.pages import words

Fact = Mapping[str, Any]

_STARTS = ("t", "onset", "start")
_PRECISIONS = ("precision", "onsetPrecision", "startPrecision")
_SAID = ("clinical", "verification", "status", "origin")
_DEFAULTS = ("final", "measured", "confirmed")


def fact_in_words(fact: Fact, now: int, time_unit: str) -> str:
    """`Creatinine 0.9 mg/dL, 3 months before`."""
    return ", ".join([_NAMES[fact["part"]](fact), *_more(fact, now, time_unit)])


def _more(fact: Fact, now: int, time_unit: str) -> Iterator[str]:
    start = next((fact[key] for key in _STARTS if key in fact), None)
    if start is not None:
        precision = next((fact[key] for key in _PRECISIONS if key in fact), "day")
        yield words.ago(start, now, time_unit, precision)
    for key, verb in (("abatement", "ended"), ("end", "until"), ("deceasedAt", "died")):
        if key in fact:
            yield f"{verb} {words.ago(fact[key], now, time_unit)}"
    if "onsetAge" in fact:
        yield f"at the age of {fact['onsetAge']}"
    yield from (fact[key] for key in _SAID if fact.get(key) not in (None, *_DEFAULTS))
    if "from" in fact:
        yield f"came in {fact['from']}"


def _signal(fact: Fact) -> str:
    known = vocabulary.concept(fact["concept"])
    value = words.measured(fact["v"], known.unit)
    return f"{known.label} {fact.get('comparator', '')}{value}"


def _coded(fact: Fact) -> str:
    return f"{words.concept(fact['concept'])}: {fact['code']}"


def _code(fact: Fact) -> str:
    return f"{fact['system']} {fact['code']}" if "code" in fact else "no code"


def _condition(fact: Fact) -> str:
    name = words.condition(fact["group"]) if "group" in fact else "Diagnosis"
    return f"{name} ({_code(fact)})"


def _procedure(fact: Fact) -> str:
    name = words.procedure(fact["group"]) if "group" in fact else "Procedure"
    return f"{name} ({_code(fact)})"


def _medication(fact: Fact) -> str:
    named = fact.get("ingredients") or [words.medication(c) for c in fact.get("classes", ())]
    title = f"{words.listed(named) or 'Medicine'} ({_code(fact)})"
    return ": ".join(filter(None, [title, words.taken(fact)]))


def _imaging(fact: Fact) -> str:
    kinds = [words.modality(code) for code in fact.get("modalities", ())]
    sites = [words.body_site(s["bodySite"]) for s in fact.get("series", ()) if "bodySite" in s]
    title = words.listed(kinds) or "Imaging study"
    if sites:
        title += f" of {words.listed(sites)}"
    told = [words.acquired(s["parameters"]) for s in fact.get("series", ()) if "parameters" in s]
    told += [f"measured: {words.concept(m['concept'])}" for m in fact.get("measurements", ())]
    more = "; ".join(filter(None, dict.fromkeys(told)))
    return f"{title} ({more})" if more else title


def _vaccine(fact: Fact) -> str:
    names = words.listed(words.vaccine(one) for one in fact.get("against", ()))
    return f"Vaccine{f' against {names}' if names else ''} ({_code(fact)}){words.dose_of(fact)}"


def _family(fact: Fact) -> str:
    name = words.condition(fact["group"]) if "group" in fact else "Diagnosis"
    return f"Family ({fact['relationship']}): {name} ({_code(fact)})"


def _gene(fact: Fact) -> str:
    said = ["/".join(fact["diplotype"])] if "diplotype" in fact else []
    said += [words.plain(fact["phenotype"]).lower()] if "phenotype" in fact else []
    return f"Gene {fact['gene']}: {', '.join(said)}"


def _set_aside(fact: Fact) -> str:
    about = words.concept(fact["concept"]) if "concept" in fact else "A value"
    return f"{about} set aside: {words.rule(fact['rule']).rstrip('.')}"


_NAMES: Mapping[str, Callable[[Fact], str]] = {
    "subject": lambda fact: f"Person: {fact['sex']}{', deceased' if fact['deceased'] else ''}",
    "signals": _signal,
    "coded": _coded,
    "conditions": _condition,
    "imaging": _imaging,
    "medications": _medication,
    "procedures": _procedure,
    "encounters": lambda fact: f"Encounter {fact.get('kind', '')}".rstrip(),
    "allergies": lambda fact: f"Allergy ({_code(fact)})",
    "family": _family,
    "genomics": _gene,
    "immunizations": _vaccine,
    "setAside": _set_aside,
}
