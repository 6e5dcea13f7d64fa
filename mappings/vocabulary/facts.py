"""Facts: what the map makes of one de-identified record. One typed, timed value each, immutable.

Named tuples rather than dataclasses: a record of 100,000 observations makes 100,000 of them, and
creating a tuple costs a third of creating a frozen dataclass.

`time`, `onset`, ... are offsets from the twin's sealed epoch; `source` is the pseudonym of the
resource the fact came from.
"""

from typing import NamedTuple


class Measurement(NamedTuple):
    """One number of one concept, in the concept's canonical unit."""

    concept: str
    time: int
    value: float
    source: str
    precision: str = "day"
    comparator: str = ""  # "<" stays "<": a censored value is never turned into a number
    status: str = "final"
    origin: str = "measured"  # or "derived", "reported"
    unit: str = ""  # the unit it arrived in, when that was not the canonical one
    flag: str = ""  # what the source called it: H, L, N ... of HL7's list
    range: tuple[float, ...] = ()  # the source's reference range; an open end is infinite
    site: str = ""  # SNOMED CT code of a body site that we know
    method: str = ""  # SNOMED CT code of a way of measuring that we know


class CodedValue(NamedTuple):
    """One answer out of a closed list (smoking status: current, former, never, unknown)."""

    concept: str
    time: int
    code: str
    source: str
    precision: str = "day"
    status: str = "final"


class ConditionFact(NamedTuple):
    """One diagnosis. `group` is empty for a code we know the system of, but have no group for."""

    group: str
    system: str
    code: str
    clinical: str
    verification: str
    source: str
    onset: int | None = None
    onset_precision: str = "day"
    onset_age: int | None = None
    abatement: int | None = None
    abatement_precision: str = "day"
    recorded: int | None = None


class ImagingParameter(NamedTuple):
    """How a series was acquired, in one respect: numbers, words of DICOM, or a yes or no."""

    id: str
    numbers: tuple[float, ...] = ()  # the one value, or the lowest and the highest
    words: tuple[str, ...] = ()
    flag: bool | None = None


class ImagingMeasure(NamedTuple):
    """A pointer to what was measured on a study: the fact of this concept from this source."""

    concept: str
    source: str
    body_site: str = ""


class ImagingSeries(NamedTuple):
    modality: str
    body_site: str = ""
    instances: int | None = None
    laterality: str = ""
    time: int | None = None
    precision: str = "day"
    read: int = 0  # instances whose acquisition was read
    parameters: tuple[ImagingParameter, ...] = ()


class ImagingFact(NamedTuple):
    modalities: tuple[str, ...]
    series: tuple[ImagingSeries, ...]
    status: str
    source: str
    time: int | None = None
    precision: str = "day"
    series_total: int | None = None  # as the study states them; more than are listed, at times
    instances: int | None = None
    measurements: tuple[ImagingMeasure, ...] = ()


class MedicationFact(NamedTuple):
    """One prescription or statement. `classes` are our medication classes; both may be empty."""

    classes: tuple[str, ...]
    ingredients: tuple[str, ...]
    system: str
    code: str
    status: str
    source: str
    kind: str = "request"  # or "statement"
    start: int | None = None
    start_precision: str = "day"
    end: int | None = None
    supply_days: int | None = None  # how long one supply lasts
    repeats: int | None = None  # supplies allowed after the first
    times_per_day: float | None = None  # by the one rule stated; none for "as needed"
    dose: float | None = None  # each time, where all instructions agree
    dose_unit: str = ""


class ProcedureFact(NamedTuple):
    group: str
    system: str
    code: str
    status: str
    source: str
    start: int | None = None
    start_precision: str = "day"
    end: int | None = None


class EncounterFact(NamedTuple):
    kind: str  # HL7 ActCode class: AMB, EMER, IMP ...
    status: str
    source: str
    start: int | None = None
    start_precision: str = "day"
    end: int | None = None


class AllergyFact(NamedTuple):
    system: str
    code: str
    clinical: str
    verification: str
    source: str
    onset: int | None = None


class ImmunizationFact(NamedTuple):
    """One dose of a vaccine, given or not. `against` is empty for a code that we do not know."""

    against: tuple[str, ...]
    system: str
    code: str
    status: str  # completed or not-done
    source: str
    time: int | None = None
    precision: str = "day"
    dose: int | None = None  # the first, the second ... of its series
    doses: int | None = None  # of how many


class FamilyFact(NamedTuple):
    relationship: str
    group: str
    system: str
    code: str
    source: str
    onset_age: int | None = None


class GenomicFact(NamedTuple):
    """A diplotype or a phenotype of one pharmacogene; both where one record states both."""

    gene: str
    source: str
    alleles: tuple[str, ...] = ()  # two names, in our spelling
    phenotype: str = ""
    time: int | None = None
    precision: str = "day"
    status: str = "final"


class SubjectFact(NamedTuple):
    """What the policy lets through of the Patient resource."""

    sex: str  # female, male, other, unknown
    source: str
    age: int | None = None  # completed years at `now`, or at death
    age_top_coded: bool = False
    deceased: bool = False
    deceased_at: int | None = None
    deceased_precision: str = "day"


class SetAside(NamedTuple):
    """A value that was read and declared not to be used, with the rule that said so."""

    concept: str  # "" when the code is not one of ours
    rule: str  # an id of vocabulary/rules.csv
    source: str
    time: int | None = None


class Mapped(NamedTuple):
    """Everything the map made of one patient's records, in a deterministic order."""

    subject: SubjectFact | None
    measurements: tuple[Measurement, ...]
    coded: tuple[CodedValue, ...]
    conditions: tuple[ConditionFact, ...]
    imaging: tuple[ImagingFact, ...]
    medications: tuple[MedicationFact, ...]
    procedures: tuple[ProcedureFact, ...]
    encounters: tuple[EncounterFact, ...]
    allergies: tuple[AllergyFact, ...]
    family: tuple[FamilyFact, ...]
    genomics: tuple[GenomicFact, ...]
    set_aside: tuple[SetAside, ...]
    conversions: tuple[tuple[str, str, int], ...]  # (concept, unit it came in, how many)
    conflicts: tuple[tuple[str, int, int], ...]  # (concept, time, how many values competed)
    unmapped: tuple[tuple[str, str, str, int], ...]  # (resource type, system, code, how many)
    immunizations: tuple[ImmunizationFact, ...] = ()
