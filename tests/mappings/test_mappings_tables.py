"""The shipped tables hold together: sources, shapes, check digits, uniqueness, licences."""

import csv
from collections import Counter
from importlib import resources
from typing import Any

import pytest

from mappings import vocabulary
from mappings.vocabulary import concept_table, groups, tables
from mappings.vocabulary.check_digits import is_loinc, is_snomed
from mappings.vocabulary.tables import CERTAINTIES, VocabularyError

FOLDER = resources.files(tables)
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.name.endswith(".csv"))


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(FOLDER.joinpath(name).read_text("utf-8").splitlines()))


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_a_source_and_a_certainty(name: str) -> None:
    for row in rows(name):
        assert row["source"].strip()
        assert row["certainty"] in CERTAINTIES


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"rules.csv", "units.csv", "dose_units.csv"}))
def test_no_code_rests_on_judgement(name: str) -> None:
    assert all(row["certainty"] != "judgement" for row in rows(name))


def test_only_refused_units_rest_on_judgement() -> None:
    kinds = {row["kind"] for row in rows("units.csv") if row["certainty"] == "judgement"}
    assert kinds == {"refuse"}


def test_only_refused_units_of_doses_rest_on_judgement() -> None:
    judged = [row["certainty"] == "judgement" for row in rows("dose_units.csv")]
    assert judged == [not row["unit"] and not row["factor"] for row in rows("dose_units.csv")]


def test_the_vocabulary_covers_what_was_promised() -> None:
    assert len(vocabulary.concepts()) >= 150
    assert len(vocabulary.condition_labels()) >= 90
    assert len(vocabulary.medication_labels()) >= 85


@pytest.mark.parametrize(
    "concept",
    [
        "systolic-bp", "diastolic-bp", "heart-rate", "respiratory-rate", "body-temperature",
        "oxygen-saturation-pulse", "body-height", "body-weight", "body-mass-index",
        "total-cholesterol", "hdl-cholesterol", "ldl-cholesterol", "triglycerides", "creatinine",
        "cystatin-c", "egfr-ckdepi-2021", "urine-albumin-creatinine-ratio", "hba1c", "glucose",
        "sodium", "potassium", "chloride", "bicarbonate", "urea-nitrogen", "calcium-total",
        "alt", "ast", "alkaline-phosphatase", "bilirubin-total", "albumin", "total-protein",
        "haemoglobin", "haematocrit", "erythrocytes", "leukocytes", "platelets", "mcv",
    ],
)  # fmt: skip
def test_the_core_has_a_code_to_write(concept: str) -> None:
    assert is_loinc(vocabulary.preferred_code(concept))


def test_one_code_stands_for_one_thing() -> None:
    for name, key in (("codes.csv", ("system", "code")), ("smoking.csv", ("system", "code"))):
        counted = Counter(tuple(row[column] for column in key) for row in rows(name))
        assert max(counted.values()) == 1


def test_one_preferred_code_per_concept_and_system() -> None:
    preferred = [row for row in rows("codes.csv") if row["preferred"] == "1"]
    counted = Counter((row["concept"], row["system"]) for row in preferred)
    assert max(counted.values()) == 1


def test_check_digits_of_every_code() -> None:
    for name in (
        "codes.csv",
        "conditions.csv",
        "procedures.csv",
        "smoking.csv",
        "imaging.csv",
        "vaccines.csv",
    ):
        for row in rows(name):
            if row["system"] == "loinc":
                assert is_loinc(row["code"]), row["code"]
            if row["system"] == "snomed":
                assert is_snomed(row["code"]), row["code"]


# Codes seen in public repositories, in vendors' tables or in drafts under a meaning they do not
# have; none of them may ever map.
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("3150-6", "fails the check digit; 3150-0 is meant"),
        ("88330-6", "a mobility item, mislabelled as NEWS2"),
        ("82674-3", "a panel, not the asthma total"),
        ("79720-9", "found nowhere"),
        ("11834-9", "a fetal kidney"),
        ("11836-4", "a fetal kidney"),
        ("41995-2", "HbA1c in g/dL"),
        ("57905-2", "a presence code"),
        ("56086-2", "a protocol"),
        ("62409-8", "a protocol"),
        ("14585-4", "a molar ratio"),
        ("19195-7", "PSA in units"),
        ("79423-0", "a score of one model"),
        ("89252-1", "an invented meaning"),
        ("89260-4", "an invented meaning"),
    ],
)
def test_refused_codes_do_not_map(code: str, why: str) -> None:
    rule = vocabulary.concept_for("loinc", code)
    assert rule is None or rule.use != "map", why


def test_no_foreign_display_texts_are_shipped() -> None:
    columns = {column for name in NAMES for column in rows(name)[0]}
    assert not columns & {"display", "display_in_sample", "synthea_count", "occurrences"}
    assert all(not row["label"] for row in rows("conditions.csv") if row["system"] == "icd10")


def test_value_sets_are_named_and_not_copied() -> None:
    """A SNOMED CT row has our own label, or another public list than the value set behind it."""
    for name in ("conditions.csv", "procedures.csv"):
        for row in rows(name):
            if row["system"] != "snomed" or row["label"]:
                continue
            sources = row["source"].replace(", ", ";").split(";")
            assert any(not source.strip().startswith("VSAC") for source in sources)


@pytest.mark.parametrize("word", ["LOINC", "SNOMED", "RxNorm", "UCUM", "ATC", "VSAC"])
def test_the_notices_are_shipped(word: str) -> None:
    assert word in vocabulary.attribution()


def test_a_row_without_a_source_is_refused() -> None:
    with pytest.raises(VocabularyError, match="line 7: no source"):
        tables._check("x.csv", 7, {"source": "", "certainty": "confirmed-by-1"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"code": "2160-1"}, "check digit"),
        ({"system": "local"}, "unknown system"),
        ({"concept": "no-such"}, "no such concept"),
        ({"certainty": "judgement"}, "not confirmed"),
        ({"use": "guess"}, "unknown use"),
    ],
)
def test_a_code_row_that_cannot_be_is_refused(change: dict[str, str], reason: str) -> None:
    row = next(row for row in rows("codes.csv") if row["code"] == "2160-0") | change
    assert reason in concept_table._code_problem(row, {})


def test_a_code_under_two_concepts_is_refused() -> None:
    row = next(row for row in rows("codes.csv") if row["code"] == "2160-0")
    known: dict[str, Any] = {"2160-0": vocabulary.CodeRule("glucose", "map")}
    assert "one code, one rule" in concept_table._code_problem(row, known)


def test_a_concept_that_cannot_be_is_refused() -> None:
    creatinine = vocabulary.concept("creatinine")
    wrong = {name: getattr(creatinine, name) for name in creatinine.__slots__}
    with pytest.raises(ValueError, match="plausible"):
        vocabulary.Concept(**wrong | {"physiological": (0.0, 500.0)})


def test_group_lookups_agree_with_the_rows() -> None:
    """An exact inclusion is found, unless the same group excludes the code."""
    for name, membership in (
        ("conditions.csv", vocabulary.condition_membership),
        ("procedures.csv", groups.PROCEDURES.membership),
    ):
        for row in rows(name):
            found = membership(row["system"], row["code"])
            if row["include"] == "exclude":
                assert row["group"] not in found.groups
            elif row["include"] == "include":
                assert row["group"] in {*found.groups, *found.excluded}


def test_products_agree_with_the_ingredients_they_name() -> None:
    by_code = {
        row["code"]: row["ingredient"]
        for row in rows("medications.csv")
        if row["system"] == "rxnorm"
    }
    for row in rows("medication_products.csv"):
        found = vocabulary.medication("rxnorm", row["product"])
        assert row["ingredient"] in found.ingredients
        if row["ingredient_rxcui"] in by_code:
            assert by_code[row["ingredient_rxcui"]] == row["ingredient"]


def test_common_treatments_are_recognised_by_their_products() -> None:
    for product, drug_class in (
        ("617310", "statin"),
        ("314076", "ace-inhibitor"),
        ("979492", "arb"),
    ):
        assert drug_class in vocabulary.medication("rxnorm", product).classes
    for product in ("314076", "979492", "866924", "854908"):
        assert "antihypertensive-any" in vocabulary.medication("rxnorm", product).classes
