"""Rare codes become their parents, and codes are told no finer than anybody needs."""

from typing import Any

import pytest
from privacy_support import session

from mappings import vocabulary
from mappings.vocabulary.check_digits import SHAPES
from mappings.vocabulary.groups import CONDITIONS
from privacy.deidentify import Deidentifier
from privacy.policy import load_policy
from privacy.rarity import RARE, parent_of
from service.pipeline.guards import GUARDS

SNOMED, ICD10, ICD10CM = (
    "http://snomed.info/sct",
    "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-10-cm",
)
ICD9CM = "http://hl7.org/fhir/sid/icd-9-cm"
SAFE_HARBOR = Deidentifier(load_policy("safe-harbor"), GUARDS)
LIMITED = Deidentifier(load_policy("limited-data-set"), GUARDS)


def told(system: str, code: str, deidentifier: Deidentifier = SAFE_HARBOR) -> tuple[Any, str]:
    """The code in the record, and what was done with it."""
    run = session(deidentifier=deidentifier)
    record = run.apply(
        {
            "resourceType": "Condition",
            "id": "c1",
            "subject": {"reference": "Patient/p1"},
            "code": {"coding": [{"system": system, "code": code, "display": "Zq7"}]},
        }
    )
    [action] = [how for _, path, how in run.counts if path == "code.coding"]
    kept = record.get("code", {}).get("coding", [{}])[0]
    assert kept.get("system") == system
    return kept["code"], action


@pytest.mark.parametrize(
    ("system", "code", "parent"),
    [
        (SNOMED, "58756001", "64572001"),  # Huntington's chorea → disease
        (SNOMED, "58750007", "64572001"),  # plague → disease
        ("urn:oid:2.16.840.1.113883.6.96", "58756001", "64572001"),
        (ICD10, "G10", "R69"),
        (ICD10CM, "E75.21", "R69"),  # Fabry, below a category of rare diseases
        (ICD10CM, "E7521", "R69"),  # and without its dot
        (ICD10CM, "A82.9", "R69"),
        (ICD10CM, "W58.11XA", "R69"),  # bitten by a crocodile: it was in the newspaper
    ],
)
def test_a_rare_code_becomes_its_parent(system: str, code: str, parent: str) -> None:
    assert told(system, code) == (parent, "generalised")


@pytest.mark.parametrize(
    ("system", "code", "general"),
    [
        (ICD10CM, "S72.001A", "S72.0"),  # a broken hip; which side, which visit: not needed
        (ICD10CM, "K21.9", "K21"),
        (ICD10, "L40.0", "L40"),
        (ICD9CM, "530.81", "530"),
        (ICD9CM, "E885.9", "E885"),
    ],
)
def test_an_icd_code_is_told_as_finely_as_somebody_needs(
    system: str, code: str, general: str
) -> None:
    assert told(system, code) == (general, "generalised")


@pytest.mark.parametrize(
    ("system", "code"),
    [
        (SNOMED, "38341003"),  # hypertension
        (SNOMED, "444814009"),  # viral sinusitis: in no group, and common
        (ICD10CM, "N18.4"),  # the stage decides about a group
        (ICD10CM, "I10"),
        (ICD10CM, "A22.7"),  # anthrax, and a sepsis that models read
    ],
)
def test_what_is_common_or_needed_stays(system: str, code: str) -> None:
    assert told(system, code) == (code, "known-code")


def test_a_limited_data_set_keeps_them() -> None:
    assert told(SNOMED, "58756001", LIMITED) == ("58756001", "known-code")
    assert told(ICD10CM, "S72.001A", LIMITED) == ("S72.001A", "known-code")


def test_no_group_changes_by_telling_less() -> None:
    """Every code of the tables of conditions belongs where it belonged before."""
    seen = 0
    for system, code in [*CONDITIONS._exact, *CONDITIONS._prefix]:
        uri = vocabulary.uri(system)
        before = vocabulary.condition_membership(uri, code)
        if not SHAPES[system](code):
            continue  # a prefix that is no code by itself
        after, _ = told(uri, code)
        assert vocabulary.condition_membership(uri, after) == before, (system, code)
        seen += 1
    assert seen > 2000


def test_the_table_holds_codes_that_no_group_needs_and_says_why() -> None:
    for row in RARE:
        assert row.source, row.code
        assert row.rarity, row.code
        assert SHAPES[row.system](row.parent), row.code
        assert parent_of(vocabulary.uri(row.system), row.parent) is None  # ends there
        assert not vocabulary.is_grouped(row.system, row.parent)
        assert not vocabulary.is_grouped(row.system, row.code), row.code
        if row.match == "exact":
            assert SHAPES[row.system](row.code), row.code
    assert len({(row.system, row.code) for row in RARE}) == len(RARE)
    assert parent_of("http://example.org/local", "G10") is None
