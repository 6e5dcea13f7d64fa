"""Genes: names of alleles pass as codes, everything that could be text or a variant does not."""

from datetime import date
from typing import Any

from mappings import vocabulary
from mappings.from_fhir import map_records
from privacy.deidentify import Deidentifier, Guards
from privacy.policy import load_policy, twin_policy_ids
from privacy.subject import SubjectContext

PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1970-05-04"}
MARKER = "Zebedee"


def genotype(**value: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "g",
        "status": "final",
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "84413-4"}], "text": MARKER},
        "component": [
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "48018-6"}]},
                "valueCodeableConcept": {
                    "coding": [
                        {
                            "system": "http://www.genenames.org/geneId",
                            "code": "HGNC:2621",
                            "display": MARKER,
                        }
                    ]
                },
            },
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "48004-6"}]},
                "valueString": "NM_000769.4:c.681G>A",
            },
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "81252-9"}]},
                "valueCodeableConcept": {
                    "coding": [{"system": "http://www.ncbi.nlm.nih.gov/snp", "code": "rs4244285"}]
                },
            },
        ],
        **value,
    }


def kept(resource: dict[str, Any], policy: str) -> Any:
    guards = Guards(vocabulary.is_known_code, vocabulary.is_known_unit)
    subject = SubjectContext.of(
        PATIENT,
        epoch=date(2020, 1, 1),
        now=date(2026, 1, 1),
        pseudonym=lambda kind, identity: "A" * 22,
        bases=("https://fhir.example/",),
    )
    return Deidentifier(load_policy(policy), guards).session(subject).apply(resource)


def pharmvar(code: str) -> dict[str, Any]:
    coding = {"system": "http://www.pharmvar.org", "code": code, "display": MARKER}
    return genotype(valueCodeableConcept={"coding": [coding], "text": f"*1/*2 {MARKER}"})


def test_a_diplotype_passes_as_a_code_under_every_policy() -> None:
    for policy in twin_policy_ids():
        record = kept(pharmvar("CYP2C19 *1/*2"), policy)
        assert MARKER not in repr(record)
        (fact,) = map_records([record]).genomics
        assert (fact.gene, fact.alleles) == ("CYP2C19", ("*1", "*2"))


def test_text_and_variants_never_pass() -> None:
    for resource in (
        pharmvar(f"CYP2C19 *1/{MARKER}"),
        genotype(valueString=f"*1/*2 {MARKER}"),
        genotype(valueString="*1/*2"),
        genotype(valueCodeableConcept={"text": "CYP2C19 *1/*2"}),
    ):
        record = kept(resource, "safe-harbor")
        shown = repr(record)
        assert not [word for word in (MARKER, "c.681", "rs4244285", "*1/*2") if word in shown]
        assert map_records([record]).genomics == ()
