"""The facts of a twin document → FHIR R4 resources, one function per part.

Everything a twin can say is closed: codes by system, our own words, numbers, offsets. Displays come
from our tables. What R4 requires and a twin does not know is marked absent, never made up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from mappings import vocabulary
from mappings.to_fhir.codings import LOINC, UCUM
from mappings.to_fhir.common import resource_id
from mappings.to_fhir.relative import OWN, Clock, absent, own_extension
from mappings.to_fhir.twin_imaging import Measured, derived_from, imaging
from mappings.vocabulary import genomics
from mappings.vocabulary.units import unit_label

Json = dict[str, Any]
Part = Sequence[Mapping[str, Any]]

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
PSEUDONYM = "urn:twinport:source"
SPARSE = ("precision", "comparator", "status", "origin", "from")

# Categories of our vocabulary -> FHIR's; what is not here is a laboratory result.
CATEGORIES = {
    "vital": "vital-signs",
    "survey": "survey",
    "functional": "survey",
    "social": "social-history",
    "imaging-measure": "imaging",
    "wearable": "activity",
    "tumour": "exam",
    "cardiac": "exam",
}
# Words that only the other kind of resource knows.
NOT_OF_REQUESTS = frozenset({"intended", "not-taken"})
NOT_OF_STATEMENTS = frozenset({"cancelled", "draft"})
SMOKING_SNOMED = {"current": "77176002", "former": "8517006", "never": "266919005"}
PRESSURES = {"systolic-bp": "8480-6", "diastolic-bp": "8462-4"}
PRESSURE_PANEL = "85354-9"
PAST = frozenset({"inactive", "remission", "resolved"})


@dataclass(frozen=True)
class Frame:
    """What every resource of one Bundle shares."""

    twin: str
    subject: str
    clock: Clock
    pseudonyms: Sequence[str]
    measured: Measured = field(default_factory=dict)
    """What was measured on which imaging studies"""

    def resource(self, kind: str, src: int, *about: str) -> Json:
        """An empty resource of one source. `about` tells apart several made of one source."""
        pseudonym = self.pseudonyms[src]
        return {
            "resourceType": kind,
            "id": resource_id(self.twin, kind, pseudonym, *about),
            "identifier": [{"system": PSEUDONYM, "value": pseudonym}],
        }

    def reference(self) -> Json:
        return {"reference": self.subject}


def coded(code: str, system: str, display: str = "") -> Json:
    coding = {"system": system, "code": code}
    return {"coding": [coding | ({"display": display} if display else {})]}


def _own(kind: str, code: str, display: str) -> Json:
    return {"system": f"{OWN}:CodeSystem:{kind}", "code": code, "display": display}


def _hl7(system: str, code: str) -> Json:
    return coded(code, f"{TERMINOLOGY}/{system}")


def unknown_concept() -> Json:
    """A required CodeableConcept that nothing is known of."""
    return {"extension": [absent("unknown")]}


def _codeable(entry: Mapping[str, Any], more: Sequence[Json] = ()) -> Json:
    own_code = (
        [{"system": vocabulary.uri(entry["system"]), "code": entry["code"]}]
        if "code" in entry
        else []
    )
    codings = [*own_code, *more]
    return {"coding": codings} if codings else unknown_concept()


# -- numbers and answers ---------------------------------------------------------------------------


def rows(column: Mapping[str, Any]) -> Iterator[Json]:
    """A columnar signal or answer, fact by fact."""
    value = "v" if "v" in column else "code"
    for i, t in enumerate(column["t"]):
        sparse = {name: column[name][str(i)] for name in SPARSE if str(i) in column.get(name, {})}
        yield {"t": t, value: column[value][i], "src": column["src"][i]} | sparse


def observations(document: Mapping[str, Any], frame: Frame) -> Iterator[Json]:
    """Numbers, both pressures of one reading together, then answers."""
    pressures = []
    for concept, column in document["signals"].items():
        for i, fact in enumerate(rows(column)):
            if concept in PRESSURES:
                pressures.append((fact["src"], fact["t"], concept, fact))
            else:
                yield _number(concept, fact, frame, str(i))
    pressures.sort(key=lambda row: row[:3])
    for _, group in groupby(pressures, key=lambda row: row[:2]):
        yield from _pressures([(concept, fact) for _, _, concept, fact in group], frame)
    for concept, column in document["coded"].items():
        for i, fact in enumerate(rows(column)):
            yield _answer(concept, fact, frame, str(i))


def _observation(
    kind: str, fact: Mapping[str, Any], frame: Frame, category: str, *about: str
) -> Json:
    made = frame.resource("Observation", fact["src"], kind, *about)
    origin = fact.get("origin")
    if origin:
        made["extension"] = [own_extension("origin", origin)]
    return made | {
        "status": fact.get("status", "final"),
        "category": [_hl7("observation-category", category)],
        "code": _concept_code(kind),
        "subject": frame.reference(),
        "_effectiveDateTime": frame.clock.at(fact["t"], fact.get("precision", "day")),
    }


def _concept_code(concept: str) -> Json:
    named = concept if concept in vocabulary.coded_answers() else ""
    label = named.replace("-", " ").capitalize() or vocabulary.concept(concept).label
    loinc = vocabulary.preferred_code(concept)
    codings = [{"system": LOINC, "code": loinc}] if loinc else []
    return {"coding": [*codings, _own("concept", concept, label)], "text": label}


def _quantity(concept: str, fact: Mapping[str, Any]) -> Json:
    unit = vocabulary.concept(concept).unit
    comparator = {"comparator": fact["comparator"]} if "comparator" in fact else {}
    return {
        "value": fact["v"],
        **comparator,
        "unit": unit_label(unit) or unit,
        "system": UCUM,
        "code": unit,
    }


def _category(concept: str) -> str:
    return CATEGORIES.get(vocabulary.concept(concept).category, "laboratory")


def _number(concept: str, fact: Mapping[str, Any], frame: Frame, *about: str) -> Json:
    made = _observation(concept, fact, frame, _category(concept), *about)
    made["valueQuantity"] = _quantity(concept, fact)
    studies = frame.measured.get((concept, fact["src"]))
    if studies:
        made["derivedFrom"] = derived_from(studies, frame.twin, frame.pseudonyms)
    return made


def _pressures(parts: list[tuple[str, Mapping[str, Any]]], frame: Frame) -> Iterator[Json]:
    """A systolic and a diastolic pressure of one source and moment are one reading."""
    if sorted(concept for concept, _ in parts) != sorted(PRESSURES):
        for i, (concept, fact) in enumerate(parts):
            yield _number(concept, fact, frame, str(i))
        return
    first = parts[0][1]
    made = _observation("systolic-bp", first, frame, "vital-signs", "panel", str(first["t"]))
    made["code"] = coded(PRESSURE_PANEL, LOINC)
    made["component"] = [
        {"code": _concept_code(concept), "valueQuantity": _quantity(concept, fact)}
        for concept, fact in parts
    ]
    yield made


def _answer(concept: str, fact: Mapping[str, Any], frame: Frame, *about: str) -> Json:
    made = _observation(concept, fact, frame, "social-history", *about)
    word = fact["code"]
    snomed = SMOKING_SNOMED.get(word) if concept == "smoking-status" else None
    codings = [{"system": vocabulary.uri("snomed"), "code": snomed}] if snomed else []
    made["code"]["coding"].insert(0, {"system": LOINC, "code": "72166-2"})
    answer = {"coding": [*codings, _own(concept, word, word.capitalize())]}
    return made | {"valueCodeableConcept": answer}


# -- entries ---------------------------------------------------------------------------------------


def conditions(entries: Part, frame: Frame) -> Iterator[Json]:
    """One per source and code; its groups of ours stand beside the code."""
    labels = vocabulary.condition_labels()
    for entry, groups in _once(entries):
        more = [_own("condition-group", group, labels[group]) for group in groups]
        made = frame.resource("Condition", entry["src"], entry.get("code", ""))
        abated = _abatement(entry, frame)
        clinical = entry.get("clinical")
        if abated and clinical not in PAST:
            clinical = "inactive"  # R4 con-4: what has abated is not active
        made |= _status_of_condition(clinical, entry.get("verification"))
        made |= {
            "category": [_hl7("condition-category", "problem-list-item")],
            "code": _codeable(entry, more),
            "subject": frame.reference(),
            **_onset(entry, frame),
            **abated,
        }
        if "recorded" in entry:
            made["_recordedDate"] = frame.clock.at(entry["recorded"])
        yield made


def _once(entries: Part) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """A twin has one entry per group; here is one per source and code, with its groups."""
    found: dict[tuple[Any, ...], tuple[Mapping[str, Any], list[str]]] = {}
    for entry in entries:
        key = (entry["src"], entry.get("system"), entry.get("code"))
        kept = found.setdefault(key, (entry, []))
        if "group" in entry:
            kept[1].append(entry["group"])
    yield from found.values()


def _status_of_condition(clinical: str | None, verification: str | None) -> Json:
    made = {}
    if clinical:
        made["clinicalStatus"] = _hl7("condition-clinical", clinical)
    if verification:
        made["verificationStatus"] = _hl7("condition-ver-status", verification)
    return made


def _onset(entry: Mapping[str, Any], frame: Frame) -> Json:
    if "onset" in entry:
        precision = entry.get("onsetPrecision", "day")
        return {"_onsetDateTime": frame.clock.at(entry["onset"], precision)}
    return {"onsetAge": _age(entry["onsetAge"])} if "onsetAge" in entry else {}


def _abatement(entry: Mapping[str, Any], frame: Frame) -> Json:
    ended = entry.get("abatement")
    if ended is None or ended > frame.clock.now:
        return {}
    return {"_abatementDateTime": frame.clock.at(ended, entry.get("abatementPrecision", "day"))}


def _age(years: int) -> Json:
    return {"value": years, "unit": "years", "system": UCUM, "code": "a"}


def medications(entries: Part, frame: Frame) -> Iterator[Json]:
    for i, entry in enumerate(entries):
        make = _request if entry["kind"] == "request" else _statement
        yield make(entry, frame, str(i))


def _medicine(entry: Mapping[str, Any]) -> Json:
    labels = vocabulary.medication_labels()
    classes = [_own("medication-class", c, labels[c]) for c in entry.get("classes", ())]
    made = _codeable(entry, classes)
    if "ingredients" in entry:
        made["text"] = ", ".join(entry["ingredients"])
    return made


def _request(entry: Mapping[str, Any], frame: Frame, about: str) -> Json:
    made = frame.resource("MedicationRequest", entry["src"], about)
    status = entry["status"]
    made |= {
        "status": "unknown" if status in NOT_OF_REQUESTS else status,
        "intent": "order",
        "medicationCodeableConcept": _medicine(entry),
        "subject": frame.reference(),
    }
    if "start" in entry:
        made["_authoredOn"] = frame.clock.at(entry["start"], entry.get("startPrecision", "day"))
    supply = _supply(entry, frame)
    if supply:
        made["dispenseRequest"] = supply
    dosage = _dosage(entry)
    if dosage:
        made["dosageInstruction"] = [dosage]
    return made


def _supply(entry: Mapping[str, Any], frame: Frame) -> Json:
    made: Json = {}
    if "end" in entry:
        made["validityPeriod"] = frame.clock.period(None, entry["end"])
    if "repeats" in entry:
        made["numberOfRepeatsAllowed"] = entry["repeats"]
    if "supplyDays" in entry:
        days = {"value": entry["supplyDays"], "unit": "days", "system": UCUM, "code": "d"}
        made["expectedSupplyDuration"] = days
    return made


def _dosage(entry: Mapping[str, Any]) -> Json:
    """How often and how much, as far as the twin says it."""
    made = _regular(entry["timesPerDay"]) if "timesPerDay" in entry else {}
    if "dose" in entry:
        system, code = vocabulary.dose_code(entry["doseUnit"])
        unit = {"unit": entry["doseUnit"], "system": vocabulary.uri(system), "code": code}
        made["doseAndRate"] = [{"doseQuantity": {"value": entry["dose"], **unit}}]
    return made


def _regular(times: float) -> Json:
    """So many times a day, or once in so many days: a frequency is a whole number."""
    whole = times == int(times)
    frequency, period = (int(times), 1) if whole else (1, round(1 / times, 3))
    return {"timing": {"repeat": {"frequency": frequency, "period": period, "periodUnit": "d"}}}


def _statement(entry: Mapping[str, Any], frame: Frame, about: str) -> Json:
    made = frame.resource("MedicationStatement", entry["src"], about)
    status = entry["status"]
    return made | {
        "status": "unknown" if status in NOT_OF_STATEMENTS else status,
        "medicationCodeableConcept": _medicine(entry),
        "subject": frame.reference(),
        **_span(entry, frame, "effective"),
        **({"dosage": [dosage]} if (dosage := _dosage(entry)) else {}),
    }


def _span(entry: Mapping[str, Any], frame: Frame, name: str) -> Json:
    """A choice of dateTime and Period: a moment where no end is known."""
    start, end = entry.get("start"), entry.get("end")
    precision = entry.get("startPrecision", "day")
    if end is not None:
        return {f"{name}Period": frame.clock.period(start, end, precision)}
    return {} if start is None else {f"_{name}DateTime": frame.clock.at(start, precision)}


def procedures(entries: Part, frame: Frame) -> Iterator[Json]:
    labels = vocabulary.procedure_labels()
    for entry, groups in _once(entries):
        more = [_own("procedure-group", group, labels[group]) for group in groups]
        made = frame.resource("Procedure", entry["src"], entry.get("code", ""))
        yield made | {
            "status": entry["status"],
            "code": _codeable(entry, more),
            "subject": frame.reference(),
            **_span(entry, frame, "performed"),
        }


def encounters(entries: Part, frame: Frame) -> Iterator[Json]:
    for entry in entries:
        made = frame.resource("Encounter", entry["src"])
        kind = entry.get("kind")
        known = {"system": f"{TERMINOLOGY}/v3-ActCode", "code": kind}
        made |= {
            "status": entry["status"],
            "class": known if kind else unknown_concept(),
            "subject": frame.reference(),
        }
        period = frame.clock.period(
            entry.get("start"), entry.get("end"), entry.get("startPrecision", "day")
        )
        yield made | ({"period": period} if period else {})


def allergies(entries: Part, frame: Frame) -> Iterator[Json]:
    for entry in entries:
        made = frame.resource("AllergyIntolerance", entry["src"])
        clinical = entry.get("clinical")
        made["clinicalStatus"] = (
            _hl7("allergyintolerance-clinical", clinical) if clinical else unknown_concept()
        )
        if "verification" in entry:
            made["verificationStatus"] = _hl7(
                "allergyintolerance-verification", entry["verification"]
            )
        made |= {"code": _codeable(entry), "patient": frame.reference()}
        yield made | _onset(entry, frame)


def immunizations(entries: Part, frame: Frame) -> Iterator[Json]:
    """One per dose."""
    labels = vocabulary.vaccine_labels()
    for entry in entries:
        made = frame.resource("Immunization", entry["src"])
        more = [_own("vaccine-target", one, labels[one]) for one in entry.get("against", ())]
        yield made | {
            "status": entry.get("status", "completed"),
            "vaccineCode": _vaccine(entry, more),
            "patient": frame.reference(),
            **_occurrence(entry, frame.clock),
            **_series(entry),
        }


def _occurrence(entry: Mapping[str, Any], clock: Clock) -> Json:
    """R4 requires a time here, and readers are known (fhir.resources) that refuse a choice whose
    element has extensions alone: so a sentence of ours, with the time as data beside it."""
    if "t" not in entry:
        return {"occurrenceString": "unknown"}
    told = {"extension": clock.beside(entry["t"], entry.get("precision", "day"))}
    return {"occurrenceString": clock.told(entry["t"]), "_occurrenceString": told}


def _vaccine(entry: Mapping[str, Any], more: Sequence[Json]) -> Json:
    text = ", ".join(one["display"] for one in more)
    return _codeable(entry, more) | ({"text": f"Vaccine against: {text}"} if text else {})


def _series(entry: Mapping[str, Any]) -> Json:
    if "dose" not in entry:
        return {}
    of = {"seriesDosesPositiveInt": entry["doses"]} if "doses" in entry else {}
    return {"protocolApplied": [{"doseNumberPositiveInt": entry["dose"], **of}]}


def family(entries: Part, frame: Frame) -> Iterator[Json]:
    labels = vocabulary.condition_labels()
    for i, entry in enumerate(entries):
        made = frame.resource("FamilyMemberHistory", entry["src"], str(i))
        more = [_own("condition-group", g, labels[g]) for g in [entry.get("group")] if g]
        condition: Json = {"code": _codeable(entry, more)}
        if "onsetAge" in entry:
            condition["onsetAge"] = _age(entry["onsetAge"])
        yield made | {
            "status": "completed",
            "patient": frame.reference(),
            "relationship": _hl7("v3-RoleCode", entry["relationship"]),
            "condition": [condition],
        }


def genes(entries: Part, frame: Frame) -> Iterator[Json]:
    """As HL7 Genomics Reporting has a genotype; a phenotype under its own code."""
    for i, entry in enumerate(entries):
        if "diplotype" in entry:
            yield _genotype(entry, frame, f"{i}-genotype")
        if "phenotype" in entry:
            yield _metabolism(entry, frame, f"{i}-phenotype")


def _gene_observation(entry: Mapping[str, Any], frame: Frame, suffix: str, code: str) -> Json:
    made = frame.resource("Observation", entry["src"], suffix)
    made |= {"status": entry.get("status", "final"), "subject": frame.reference()}
    made["code"] = {"coding": [{"system": vocabulary.uri("loinc"), "code": code}]}
    if "t" in entry:
        made["_effectiveDateTime"] = frame.clock.at(entry["t"], entry.get("precision", "day"))
    gene = {"system": vocabulary.uri("hgnc"), "code": genomics.hgnc(entry["gene"])}
    studied = {"system": vocabulary.uri("loinc"), "code": genomics.GENE_STUDIED}
    made["component"] = [
        {"code": {"coding": [studied]}, "valueCodeableConcept": {"coding": [gene]}}
    ]
    return made


def _genotype(entry: Mapping[str, Any], frame: Frame, suffix: str) -> Json:
    made = _gene_observation(entry, frame, suffix, genomics.GENOTYPE)
    named = f"{entry['gene']} {'/'.join(entry['diplotype'])}"
    coding = {"system": vocabulary.uri("pharmvar"), "code": named, "display": named}
    return made | {"valueCodeableConcept": {"coding": [coding]}}


def _metabolism(entry: Mapping[str, Any], frame: Frame, suffix: str) -> Json:
    code = genomics.observation_code(entry["gene"])
    made = _gene_observation(entry, frame, suffix, code)
    answer = {
        "system": vocabulary.uri("loinc"),
        "code": genomics.phenotype_code(entry["phenotype"]),
    }
    text = entry["phenotype"].replace("-", " ").capitalize()
    return made | {"valueCodeableConcept": {"coding": [answer], "text": text}}


ENTRIES: Mapping[str, Callable[[Part, Frame], Iterator[Json]]] = {
    "conditions": conditions,
    "medications": medications,
    "allergies": allergies,
    "procedures": procedures,
    "imaging": imaging,
    "encounters": encounters,
    "family": family,
    "genomics": genes,
    "immunizations": immunizations,
}
