"""Where the mappers put what they make of the records, before it is settled."""

from collections import Counter
from typing import Any, TypeAlias

from mappings.vocabulary.facts import (
    AllergyFact,
    CodedValue,
    ConditionFact,
    EncounterFact,
    FamilyFact,
    GenomicFact,
    ImagingFact,
    ImmunizationFact,
    Measurement,
    MedicationFact,
    ProcedureFact,
    SetAside,
    SubjectFact,
)

Record: TypeAlias = dict[str, Any]

# An Observation, when it holds, how exactly that is known, its status, and the rule by which
# nothing of it can be used.
Context: TypeAlias = tuple[Record, int | None, str, str, str]


class Collector:
    """One run's lists. The mappers only ever append."""

    def __init__(self) -> None:
        self.subjects: list[SubjectFact] = []
        self.measurements: list[Measurement] = []
        self.coded: list[CodedValue] = []
        self.conditions: list[ConditionFact] = []
        self.imaging: list[ImagingFact] = []
        self.medications: list[MedicationFact] = []
        self.procedures: list[ProcedureFact] = []
        self.encounters: list[EncounterFact] = []
        self.allergies: list[AllergyFact] = []
        self.family: list[FamilyFact] = []
        self.genomics: list[GenomicFact] = []
        self.immunizations: list[ImmunizationFact] = []
        self.set_aside: list[SetAside] = []
        self.unmapped: Counter[tuple[str, str, str]] = Counter()
        self.medicines: dict[str, Record] = {}  # Medication resources by reference
        self.measured_on: set[tuple[str, str]] = set()  # (study, observation), by id
        self.members: dict[str, tuple[str, ...]] = {}  # of panels, by id
        self.sites: dict[str, str] = {}  # where an observation was made, by id
        # The offset of death, only where it is known to the day: a month cannot judge a day.
        self.death: int | None = None
        # The offset before which the person was surely not born; None where no age is known.
        self.birth: int | None = None

    def aside(self, rule: str, record: Record, concept: str = "", time: int | None = None) -> None:
        self.set_aside.append(SetAside(concept, rule, record["id"], time))

    def not_mapped(self, record: Record, codes: list[tuple[str, str]]) -> None:
        """Count a record whose code means nothing to us, under its first code."""
        system, code = codes[0] if codes else ("", "")
        self.unmapped[(record["resourceType"], system, code)] += 1
