"""Facts in, a document out: columnar, sorted, every fact pointing at its source.

The order never follows the order of arrival: facts are sorted by what they say, sources by their
pseudonym, which is random and therefore tells nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from math import isinf
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

from mappings.vocabulary.facts import (
    AllergyFact,
    CodedValue,
    ConditionFact,
    EncounterFact,
    FamilyFact,
    GenomicFact,
    ImagingFact,
    ImagingMeasure,
    ImagingParameter,
    ImagingSeries,
    ImmunizationFact,
    Mapped,
    Measurement,
    MedicationFact,
    ProcedureFact,
    SetAside,
    SubjectFact,
)
from twin_engine.document.codes import acceptable
from twin_engine.document.lineage import changes
from twin_engine.document.octets import digest, dump
from twin_engine.document.read import Twin
from twin_engine.document.schema import VERSION, check, check_part
from twin_engine.document.terms import OTHER_UNIT, load, words
from twin_engine.state import MEDICATION_TYPES

Document: TypeAlias = dict[str, Any]
Fact = TypeVar("Fact", bound=tuple[Any, ...])

# Where only a set-aside value is known of a source, its type is not.
UNSTATED = "Resource"
OTHER_REASON = "other"
# What a slice does not say did not happen: most of a small twin was once zeros.
SILENT = frozenset({"refused", "asked", "duplicates", "dropped", "outcomes", "truncated"})


class Header(NamedTuple):
    """What a twin says about itself. `twin` is its pseudonym; `now` an offset in `time_unit`."""

    twin: str
    policy: str
    policy_version: int
    policy_digest: str
    software: str
    now: int
    time_unit: str = "d"
    as_of: str = "run"
    identity: str = "pseudonymous"


class _Sources(NamedTuple):
    table: list[dict[str, Any]]
    position: dict[str, int]


def build(
    mapped: Mapped,
    header: Header,
    completeness: Mapping[str, Any],
    parent: Mapping[str, Any] | None = None,
    *,
    parent_digest: str | None = None,
    withdrawn: Mapping[str, str] | None = None,
) -> Document:
    """One version of a twin, checked against the schema.

    With a `parent`, the version counts on and `changes` says what was added, corrected or
    withdrawn. `parent_digest` is the digest of the parent's bytes as they were signed (by default
    of the bytes `dump` makes of it); `withdrawn` says why a source is gone, where that is known.
    """
    sources = _sources(mapped)
    codes = _Codes()
    # Absent where there are none: the part is younger than the first documents of version 1.
    vaccines = _entries(mapped.immunizations, _immunization, sources.position, codes)
    document: Document = {
        "twin": _twin(header, parent, parent_digest),
        "subject": _subject(mapped.subject, sources.position),
        "sources": sources.table,
        "signals": _signals(mapped.measurements, sources.position),
        "coded": _coded(mapped.coded, sources.position),
        "conditions": _entries(mapped.conditions, _condition, sources.position, codes),
        "imaging": _imaging(mapped.imaging, sources.position, codes),
        "medications": _entries(mapped.medications, _medication, sources.position, codes),
        "procedures": _entries(mapped.procedures, _procedure, sources.position, codes),
        "encounters": _entries(mapped.encounters, _encounter, sources.position, codes),
        "allergies": _entries(mapped.allergies, _allergy, sources.position, codes),
        "family": _entries(mapped.family, _family, sources.position, codes),
        "genomics": _entries(mapped.genomics, _genomic, sources.position, codes),
        "completeness": _completeness(completeness),
        "quality": _quality(mapped, sources.position, codes),
        "assessments": [],
    }
    if vaccines:
        document["immunizations"] = vaccines
    if parent is not None:
        document["changes"] = changes(parent, document, withdrawn or {})
    check(document)
    return document


def next_version(
    parent: Twin,
    mapped: Mapped,
    header: Header,
    completeness: Mapping[str, Any],
    withdrawn: Mapping[str, str] | None = None,
) -> Document:
    """The version after `parent`, made of everything that is known of the person now."""
    kept = parent.document["twin"]
    if header.twin != parent.id:
        raise ValueError("the next version of a twin keeps its pseudonym")
    if header.time_unit != kept["timeUnit"]:
        raise ValueError("the next version of a twin keeps its unit of time: begin a new twin")
    return build(
        mapped,
        header,
        completeness,
        parent.document,
        parent_digest=parent.digest,
        withdrawn=withdrawn,
    )


def with_assessments(document: Mapping[str, Any], assessments: Sequence[Document]) -> Document:
    """The same document, which has been checked, with a set of assessments, which are checked."""
    done = dict(document) | {"assessments": list(assessments)}
    check_part(done, "assessments")
    return done


# --------------------------------------------------------------------------------------------
# Heading
# --------------------------------------------------------------------------------------------


def _twin(header: Header, parent: Mapping[str, Any] | None, named: str | None) -> Document:
    version = 1 if parent is None else parent["twin"]["version"] + 1
    above = None if parent is None else named or digest(dump(parent))
    return {
        "id": header.twin,
        "schema": VERSION,
        "version": version,
        "parent": above,
        "policy": {
            "id": header.policy,
            "version": header.policy_version,
            "digest": header.policy_digest,
        },
        "software": header.software,
        "timeUnit": header.time_unit,
        "now": header.now,
        "asOf": header.as_of,
        "identity": header.identity,
    }


def _subject(subject: SubjectFact | None, index: Mapping[str, int]) -> Document:
    if subject is None:
        return {"sex": "unknown", "deceased": False}
    made = {
        "sex": subject.sex,
        "age": subject.age,
        "ageTopCoded": None if subject.age is None else subject.age_top_coded,
        "deceased": subject.deceased,
        "deceasedAt": subject.deceased_at,
        "deceasedPrecision": _precision(subject.deceased_precision),
        "src": index[subject.source],
    }
    return _present(made)


# --------------------------------------------------------------------------------------------
# Sources
# --------------------------------------------------------------------------------------------


def _sources(mapped: Mapped) -> _Sources:
    """Every pseudonym once, under its type; types by name, pseudonyms by their random value."""
    types: dict[str, str] = {}
    for kind, pseudonyms in _claims(mapped):
        for pseudonym in pseudonyms:
            types.setdefault(pseudonym, kind)
    grouped: dict[str, list[str]] = {}
    for pseudonym in sorted(types):
        grouped.setdefault(types[pseudonym], []).append(pseudonym)
    table = [{"type": kind, "ids": grouped[kind]} for kind in sorted(grouped)]
    order = (pseudonym for row in table for pseudonym in row["ids"])
    return _Sources(table, {pseudonym: position for position, pseudonym in enumerate(order)})


def _claims(mapped: Mapped) -> Iterable[tuple[str, Iterable[str]]]:
    """Which facts speak for the type of their source, the surest first.

    A number or an answer may come from a resource that also is something else, and then the
    something else is what the source is.
    """
    yield "Patient", [mapped.subject.source] if mapped.subject is not None else []
    yield "Condition", _of(mapped.conditions)
    yield "ImagingStudy", _of(mapped.imaging)
    for kind, name in MEDICATION_TYPES.items():
        yield name, [fact.source for fact in mapped.medications if fact.kind == kind]
    yield "Procedure", _of(mapped.procedures)
    yield "Encounter", _of(mapped.encounters)
    yield "AllergyIntolerance", _of(mapped.allergies)
    yield "FamilyMemberHistory", _of(mapped.family)
    yield "Immunization", _of(mapped.immunizations)
    yield "Observation", _of(mapped.measurements)
    yield "Observation", _of(mapped.coded)
    yield "Observation", _of(mapped.genomics)
    yield "Observation", [fact.source for fact in mapped.set_aside if fact.concept]
    yield UNSTATED, _of(mapped.set_aside)


def _of(facts: Iterable[Any]) -> Iterable[str]:
    return map(attrgetter("source"), facts)


# --------------------------------------------------------------------------------------------
# Columns
# --------------------------------------------------------------------------------------------


def _signals(facts: Iterable[Measurement], index: Mapping[str, int]) -> Document:
    terms = load()
    return {
        concept: {"unit": terms.units.get(concept)} | _signal(list(group), index)
        for concept, group in groupby(sorted(facts), key=attrgetter("concept"))
    }


def _signal(facts: Sequence[Measurement], index: Mapping[str, int]) -> Document:
    columns = dict(zip(Measurement._fields, zip(*facts, strict=True), strict=True))
    spellings = load().spellings
    sparse = {
        "precision": _sparse(columns["precision"], "day"),
        "comparator": _sparse(columns["comparator"], ""),
        "status": _sparse(columns["status"], "final"),
        "origin": _sparse(columns["origin"], "measured"),
        "from": _sparse([_spelling(unit, spellings) for unit in columns["unit"]], ""),
        "flag": _sparse(columns["flag"], ""),
        "range": _ranges(columns["range"]),
        "site": _sparse(columns["site"], ""),
        "method": _sparse(columns["method"], ""),
    }
    return {
        "t": list(columns["time"]),
        "v": [_shortest(value) for value in columns["value"]],
        "src": [index[source] for source in columns["source"]],
    } | {name: column for name, column in sparse.items() if column}


def _coded(facts: Iterable[CodedValue], index: Mapping[str, int]) -> Document:
    grouped = groupby(sorted(facts), key=attrgetter("concept"))
    return {concept: _answers(list(group), index) for concept, group in grouped}


def _answers(facts: Sequence[CodedValue], index: Mapping[str, int]) -> Document:
    columns = {
        "precision": _sparse([fact.precision for fact in facts], "day"),
        "status": _sparse([fact.status for fact in facts], "final"),
    }
    return {
        "t": [fact.time for fact in facts],
        "code": [fact.code for fact in facts],
        "src": [index[fact.source] for fact in facts],
    } | {name: column for name, column in columns.items() if column}


def _ranges(ranges: Sequence[tuple[float, ...]]) -> dict[str, dict[str, Any]]:
    """Reference ranges of the sources; an end that is open is absent."""
    found = {}
    for i, one in enumerate(ranges):
        if one:
            ends = zip(("low", "high"), one, strict=True)
            found[str(i)] = {name: _shortest(end) for name, end in ends if not isinf(end)}
    return found


def _sparse(values: Sequence[str], default: str) -> dict[str, str]:
    if values.count(default) == len(values):  # most columns
        return {}
    return {str(i): value for i, value in enumerate(values) if value != default}


def _spelling(unit: str, spellings: frozenset[str]) -> str:
    """A unit is written down only in a spelling of our own list."""
    return unit if not unit or unit in spellings else OTHER_UNIT


def _shortest(value: float) -> float:
    """Whole numbers without a fraction: 148, not 148.0, and never a negative zero."""
    return int(value) if value == int(value) else value


# --------------------------------------------------------------------------------------------
# Entries
# --------------------------------------------------------------------------------------------


class _Codes:
    """Lets a code through only in the form of its system, and counts what it holds back."""

    def __init__(self) -> None:
        self.refused = 0

    def pair(self, system: str, code: str) -> Document:
        if not code:
            return {}
        if acceptable(system, code):
            return {"system": system, "code": code}
        self.refused += 1
        return {}


def _entries(
    facts: Iterable[Fact],
    make: Callable[[Fact, _Codes], Document],
    index: Mapping[str, int],
    codes: _Codes,
) -> list[Document]:
    made = [
        _present(make(fact, codes)) | {"src": index[getattr(fact, "source")]}  # noqa: B009
        for fact in facts
    ]
    return sorted(made, key=_when)


def _when(entry: Mapping[str, Any]) -> tuple[bool, int, bytes]:
    """Oldest first, undated last; entries of one moment by their content, then their source."""
    start = next((entry[key] for key in ("onset", "start", "t") if key in entry), None)
    return start is None, start or 0, dump(entry)


def _present(entry: Mapping[str, Any]) -> Document:
    """Optional keys are absent, never null, empty or at their default."""
    return {key: value for key, value in entry.items() if value not in (None, "", [])}


def _status(value: str, statuses: str) -> str:
    """A status that is none of the list is not known, which is a status of every list."""
    return value if value in words()[statuses].words else "unknown"


def _precision(value: str) -> str:
    return "" if value == "day" else value


def _condition(fact: ConditionFact, codes: _Codes) -> Document:
    return {
        "group": fact.group,
        **codes.pair(fact.system, fact.code),
        "clinical": fact.clinical,
        "verification": fact.verification,
        "onset": fact.onset,
        "onsetPrecision": _precision(fact.onset_precision),
        "onsetAge": fact.onset_age,
        "abatement": fact.abatement,
        "abatementPrecision": _precision(fact.abatement_precision),
        "recorded": fact.recorded,
    }


def _imaging(
    facts: Iterable[ImagingFact], index: Mapping[str, int], codes: _Codes
) -> list[Document]:
    def study(fact: ImagingFact, _: _Codes) -> Document:
        return {
            "t": fact.time,
            "precision": _precision(fact.precision),
            "modalities": sorted(set(fact.modalities)),
            "seriesTotal": fact.series_total,
            "instances": fact.instances,
            "series": sorted((_series(series) for series in fact.series), key=dump),
            "measurements": [_measured(one, index) for one in fact.measurements],
            "status": _status(fact.status, "imaging-status"),
        }

    return _entries(facts, study, index, codes)


def _series(series: ImagingSeries) -> Document:
    made = {
        "modality": series.modality,
        "bodySite": series.body_site,
        "laterality": series.laterality,
        "t": series.time,
        "precision": _precision(series.precision),
        "instances": series.instances,
        "read": series.read or None,
        "parameters": {one.id: _parameter(one) for one in sorted(series.parameters)} or None,
    }
    return _present(made)


def _parameter(parameter: ImagingParameter) -> Document:
    if parameter.flag is not None:
        return {"given": parameter.flag}
    if parameter.words:
        return {"words": sorted(set(parameter.words))}
    unit = load().acquisition[parameter.id].unit
    return {"unit": unit, "v": [_shortest(value) for value in parameter.numbers]}


def _measured(measure: ImagingMeasure, index: Mapping[str, int]) -> Document:
    made = {"concept": measure.concept, "bodySite": measure.body_site}
    return _present(made) | {"src": index[measure.source]}


def _medication(fact: MedicationFact, codes: _Codes) -> Document:
    return {
        "classes": sorted(set(fact.classes)),
        "ingredients": sorted(set(fact.ingredients)),
        **codes.pair(fact.system, fact.code),
        "kind": fact.kind,
        "status": _status(fact.status, "medication-status"),
        "start": fact.start,
        "startPrecision": _precision(fact.start_precision),
        "end": fact.end,
        "supplyDays": fact.supply_days,
        "repeats": fact.repeats,
        "timesPerDay": None if fact.times_per_day is None else _shortest(fact.times_per_day),
        "dose": None if fact.dose is None else _shortest(fact.dose),
        "doseUnit": fact.dose_unit or None,
    }


def _procedure(fact: ProcedureFact, codes: _Codes) -> Document:
    code = codes.pair(fact.system, fact.code)
    return {"group": fact.group, **code, **_span(fact, "procedure-status")}


def _encounter(fact: EncounterFact, _: _Codes) -> Document:
    return {"kind": fact.kind, **_span(fact, "encounter-status")}


def _span(fact: ProcedureFact | EncounterFact, statuses: str) -> Document:
    return {
        "status": _status(fact.status, statuses),
        "start": fact.start,
        "startPrecision": _precision(fact.start_precision),
        "end": fact.end,
    }


def _allergy(fact: AllergyFact, codes: _Codes) -> Document:
    return {
        **codes.pair(fact.system, fact.code),
        "clinical": fact.clinical,
        "verification": fact.verification,
        "onset": fact.onset,
    }


def _immunization(fact: ImmunizationFact, codes: _Codes) -> Document:
    return {
        "against": sorted(set(fact.against)),
        **codes.pair(fact.system, fact.code),
        "status": "" if fact.status == "completed" else fact.status,
        "t": fact.time,
        "precision": _precision(fact.precision),
        "dose": fact.dose,
        "doses": fact.doses,
    }


def _family(fact: FamilyFact, codes: _Codes) -> Document:
    return {
        "relationship": fact.relationship,
        "group": fact.group,
        **codes.pair(fact.system, fact.code),
        "onsetAge": fact.onset_age,
    }


def _genomic(fact: GenomicFact, _: _Codes) -> Document:
    return {
        "gene": fact.gene,
        "diplotype": list(fact.alleles),
        "phenotype": fact.phenotype,
        "t": fact.time,
        "precision": _precision(fact.precision),
        "status": "" if fact.status == "final" else fact.status,
    }


# --------------------------------------------------------------------------------------------
# Completeness
# --------------------------------------------------------------------------------------------


def _completeness(completeness: Mapping[str, Any]) -> Document:
    made = dict(completeness) | {"slices": [_slice(part) for part in completeness["slices"]]}
    if not made.get("notRead"):
        made.pop("notRead", None)
        return made
    return made | {"notRead": _in_words(made["notRead"], "not-read")}


def _slice(part: Mapping[str, Any]) -> Document:
    """Reasons are written in words of our list only; one that is not there becomes `other`."""
    made = dict(part)
    if "dropped" in part:
        made["dropped"] = _in_words(part["dropped"], "drop-reason")
    if "reason" in part and part["reason"] not in words()["shortfall"].words:
        made["reason"] = OTHER_REASON
    return {name: value for name, value in made.items() if value or name not in SILENT}


def _in_words(counts: Mapping[str, int], of: str) -> dict[str, int]:
    """Counts under the words of a list; what is none of them falls together."""
    known, made = words()[of].words, dict[str, int]()
    for name, count in sorted(counts.items()):
        word = name if name in known else OTHER_REASON
        made[word] = made.get(word, 0) + count
    return made


# --------------------------------------------------------------------------------------------
# Quality
# --------------------------------------------------------------------------------------------


def _quality(mapped: Mapped, index: Mapping[str, int], codes: _Codes) -> Document:
    """Written last: it also says how many codes the entries above had to hold back."""
    made: Document = {
        "conversions": _conversions(mapped.conversions),
        "setAside": sorted((_set_aside(fact, index) for fact in mapped.set_aside), key=_when),
        "conflicts": [{"concept": c, "t": t, "n": n} for c, t, n in sorted(mapped.conflicts)],
        "unmapped": _unmapped(mapped.unmapped, codes),
    }
    return made | ({"codesRefused": codes.refused} if codes.refused else {})


def _conversions(rows: Iterable[tuple[str, str, int]]) -> list[Document]:
    """Spellings outside our list fall together under one word, and so do their counts."""
    spellings = load().spellings
    counts: dict[tuple[str, str], int] = {}
    for concept, unit, count in rows:
        key = (concept, _spelling(unit, spellings) or OTHER_UNIT)
        counts[key] = counts.get(key, 0) + count
    return [{"concept": c, "from": unit, "n": n} for (c, unit), n in sorted(counts.items())]


def _set_aside(fact: SetAside, index: Mapping[str, int]) -> Document:
    made = {"rule": fact.rule, "concept": fact.concept, "t": fact.time, "src": index[fact.source]}
    return _present(made)


def _unmapped(rows: Iterable[tuple[str, str, str, int]], codes: _Codes) -> list[Document]:
    """Codes that may not be written fall together under their resource type."""
    counts: dict[bytes, Document] = {}
    for kind, system, code, count in rows:
        entry = {"type": kind, **codes.pair(system, code)}
        counts.setdefault(dump(entry), entry | {"n": 0})["n"] += count
    return [counts[key] for key in sorted(counts)]
