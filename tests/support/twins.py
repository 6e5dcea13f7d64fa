"""Readable facts, and twins made of them."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

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
from twin_engine.document import Header, build

NOTHING = Mapped(None, (), (), (), (), (), (), (), (), (), (), (), (), (), ())
ALL_TYPES = (
    "AllergyIntolerance",
    "Condition",
    "Encounter",
    "FamilyMemberHistory",
    "ImagingStudy",
    "Immunization",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Patient",
    "Procedure",
)


def pseudonym(name: str) -> str:
    """A stable stand-in for a random pseudonym: the same name gives the same one."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()[:16]).decode()[:22]


def header(**changes: Any) -> Header:
    made = Header(
        twin=pseudonym("twin"),
        policy="safe-harbor",
        policy_version=1,
        policy_digest="sha256:" + "0" * 64,
        software="0.1.0",
        now=812,
    )
    return made._replace(**changes)


def complete(**verdicts: str) -> dict[str, Any]:
    """Completeness of a server that answered everything, but for the types named."""
    slices = [{"type": kind, "verdict": verdicts.get(kind, "complete")} for kind in ALL_TYPES]
    return {"basis": "server", "slices": slices}


def facts(subject: SubjectFact | None = None, **kinds: Iterable[Any]) -> Mapped:
    return NOTHING._replace(subject=subject, **{k: tuple(v) for k, v in kinds.items()})


def twin(
    mapped: Mapped = NOTHING,
    completeness: Mapping[str, Any] | None = None,
    parent: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    return build(mapped, header(**changes), completeness or complete(), parent)


def _chest() -> ImagingSeries:
    parameters = (
        ImagingParameter("contrast", flag=False),
        ImagingParameter("patient-position", words=("HFS",)),
        ImagingParameter("slice-thickness", numbers=(1.25,)),
        ImagingParameter("tube-current", numbers=(120.0, 310.0)),
    )
    return ImagingSeries("CT", "51185008", 120, read=3, parameters=parameters)


def everything() -> Mapped:
    """One fact of every kind, and one exception to every default."""
    return Mapped(
        subject=SubjectFact("female", pseudonym("patient"), 54),
        measurements=(
            Measurement("systolic-bp", 801, 148.0, pseudonym("bp-1")),
            Measurement("diastolic-bp", 801, 92.0, pseudonym("bp-1")),
            Measurement("systolic-bp", 810, 142.0, pseudonym("bp-2"), status="preliminary"),
            Measurement(
                "urine-albumin-creatinine-ratio", 700, 5.0, pseudonym("acr"), comparator="<"
            ),
            Measurement(
                "total-cholesterol", 512, 201.0, pseudonym("tc"), precision="month", unit="mmol/L"
            ),
            Measurement("body-mass-index", 801, 27.4, pseudonym("bmi"), origin="derived"),
            Measurement("tumour-size", 640, 14.0, pseudonym("nodule")),
        ),
        coded=(CodedValue("smoking-status", 805, "never", pseudonym("smoking")),),
        conditions=(
            ConditionFact(
                "hypertension",
                "snomed",
                "38341003",
                "active",
                "confirmed",
                pseudonym("hypertension"),
                onset=-400,
                onset_precision="year",
            ),
            ConditionFact(
                "", "snomed", "444814009", "resolved", "", pseudonym("cold"), 300, abatement=314
            ),
        ),
        imaging=(
            ImagingFact(
                ("CT",),
                (_chest(),),
                "available",
                pseudonym("ct"),
                640,
                measurements=(ImagingMeasure("tumour-size", pseudonym("nodule"), "39607008"),),
            ),
        ),
        medications=(
            MedicationFact(
                ("statin",),
                ("simvastatin",),
                "rxnorm",
                "36567",
                "active",
                pseudonym("statin"),
                start=520,
            ),
        ),
        procedures=(
            ProcedureFact(
                "pci", "snomed", "415070008", "completed", pseudonym("pci"), start=-90, end=-90
            ),
        ),
        encounters=(EncounterFact("AMB", "finished", pseudonym("visit"), start=801, end=801),),
        allergies=(AllergyFact("snomed", "91936005", "active", "confirmed", pseudonym("allergy")),),
        family=(FamilyFact("MTH", "diabetes-any", "snomed", "73211009", pseudonym("mother"), 60),),
        genomics=(GenomicFact("CYP2C19", pseudonym("gene"), ("*1", "*2"), "", 500),),
        set_aside=(SetAside("heart-rate", "implausible", pseudonym("hr"), 801),),
        conversions=(("total-cholesterol", "mmol/L", 1),),
        conflicts=(("potassium", 640, 2),),
        unmapped=(("Observation", "loinc", "72514-3", 4),),
        immunizations=(
            ImmunizationFact(
                ("diphtheria", "pertussis", "tetanus"),
                "cvx",
                "115",
                "completed",
                pseudonym("tdap"),
                -200,
                "month",
            ),
            ImmunizationFact(
                ("influenza",), "cvx", "140", "not-done", pseudonym("flu"), 640, dose=1, doses=2
            ),
        ),
    )
